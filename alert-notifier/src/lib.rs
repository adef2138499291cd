//! alert-notifier
