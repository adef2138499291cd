//! data-collector
