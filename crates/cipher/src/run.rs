//! [`Run`].

use cipher::inout::InOutBuf;

use crate::iv::Numbers;

/// Whole data units, and the numbers that become their IVs.
pub(crate) struct Run<'i, 'o> {
    /// Bytes in a data unit: a multiple of 16, not 0.
    pub(crate) unit_bytes: usize,
    pub(crate) numbers: Numbers,
    /// Whole data units, maybe none.
    pub(crate) data: InOutBuf<'i, 'o, u8>,
}
