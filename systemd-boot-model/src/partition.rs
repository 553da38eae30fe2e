//! Where the loader looks.

/// Where entry files are, on either partition.
pub const ENTRIES: &str = "loader/entries";
/// Where the loader's settings are, on the ESP.
pub const LOADER_CONF: &str = "loader/loader.conf";
/// Where unified kernel images are (UAPI.1, entries of type 2), on either partition.
pub const IMAGES: &str = "EFI/Linux";

/// One of the two partitions that the loader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partition {
    /// What the firmware reads: the loader, and its settings.
    Esp,
    /// `$BOOT`: entries and what they start. The XBOOTLDR partition if there is one, otherwise the ESP.
    Boot,
}
