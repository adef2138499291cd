//! alert-system
