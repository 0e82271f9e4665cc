//! The data page.
