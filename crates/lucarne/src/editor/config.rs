//! Names: label, subsystem, UUID.

use lucarne_format::luks2::Priority;

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

    /// Sets what `config` sets, in one commit: label and subsystem (both, as in cryptsetup's own call: who
    /// names one of them alone gives the other as empty), and when a keyslot is tried.
    ///
    /// # Errors
    /// As [`Self::set_labels`]; [`Error::Refused`] too if the keyslot does not exist.
    pub fn configure(
        &mut self,
        labels: Option<(&str, &str)>,
        priority: Option<(u32, Priority)>,
    ) -> Result<(), Error> {
        self.refuse_requirements("changing the configuration")?;
        self.edit(|draft| {
            if let Some((id, priority)) = priority {
                draft.set_keyslot_priority(id, priority)?;
            }
            if let Some((label, subsystem)) = labels {
                draft.set_label(label)?;
                draft.set_subsystem(subsystem)?;
            }
            Ok(())
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
