//! Names: label, subsystem, UUID.

use super::HeaderEditor;
use crate::Error;

impl HeaderEditor<'_> {
    /// Sets label and subsystem, each at most 47 bytes; `None` leaves one as it is.
    ///
    /// # Errors
    /// [`Error::Refused`] if one does not fit or the header has requirements; [`Error::Busy`],
    /// [`Error::Io`].
    pub fn set_labels(
        &mut self,
        label: Option<&str>,
        subsystem: Option<&str>,
    ) -> Result<(), Error> {
        self.refuse_requirements("changing a label")?;
        self.edit(|draft| {
            label.map_or(Ok(()), |label| draft.set_label(label))?;
            subsystem.map_or(Ok(()), |subsystem| draft.set_subsystem(subsystem))
        })
    }

    /// Sets the UUID.
    ///
    /// # Errors
    /// [`Error::Refused`] if the header has requirements; [`Error::Busy`], [`Error::Io`].
    pub fn set_uuid(&mut self, uuid: uuid::Uuid) -> Result<(), Error> {
        self.refuse_requirements("changing the UUID")?;
        self.edit(|draft| draft.set_uuid(&uuid.to_string()))
    }
}
