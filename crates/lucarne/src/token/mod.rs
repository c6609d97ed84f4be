//! Tokens as a way in (LUKS2 specification 3.6): where a keyslot's passphrase is kept elsewhere.

mod command;
mod keyring;

use lucarne_format::luks2::{Header, Token};
use lucarne_keyslot::CostMeter;
use lucarne_secret::SecretBytes;
use lucarne_storage::Storage;

use crate::unlock::{is_usable, keyslots_to_try, try_keyslots};
use crate::{Error, UnlockOptions, Unlocked};

pub use command::CommandUnlocker;
pub use keyring::{KernelKeyring, KeyringToken};

/// What turns a token into the passphrase of the keyslots that it serves: the kernel's keyring, a command,
/// a TPM, a smart card, a remote key service.
///
/// The token comes from a header that anybody may have written: an implementation takes from it what to ask
/// for, never whom, and bounds what it reads.
///
/// ```
/// use lucarne::luks2::Token;
/// use lucarne::{SecretBytes, TokenFault, Unlocker};
///
/// /// Knows one secret by heart.
/// struct ByHeart;
///
/// impl Unlocker for ByHeart {
///     fn takes(&self, token: &Token) -> bool {
///         token.kind == "by-heart"
///     }
///
///     fn passphrase(&self, _id: u32, token: &Token) -> Result<SecretBytes, TokenFault> {
///         match token.json.get("of").and_then(|of| of.as_str()) {
///             Some("example") => Ok(SecretBytes::from_slice(b"an example")),
///             _ => Err(TokenFault::new("of nothing that is known")),
///         }
///     }
/// }
/// # use lucarne::{FormatOptions, HeaderEditor, KdfKind, KdfRequest, MemoryStorage, TokenChoice};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// # let image = MemoryStorage::with_len(17 << 20);
/// # lucarne::format(&image, None, b"an example", &FormatOptions { kdf, ..Default::default() })?;
/// # let mut editor = HeaderEditor::open(&image)?;
/// editor.import_token(None, false, br#"{"type":"by-heart","keyslots":["0"],"of":"example"}"#, None)?;
/// let unlocked = lucarne::unlock_by_token(
///     editor.header(),
///     &image,
///     &[&ByHeart],
///     &TokenChoice::default(),
///     &Default::default(),
/// )?;
/// assert_eq!(unlocked.keyslot, Some(0));
/// # Ok::<(), lucarne::Error>(())
/// ```
pub trait Unlocker {
    /// Whether it knows tokens of this kind. No other thing is asked of it about the others.
    fn takes(&self, token: &Token) -> bool;

    /// The passphrase.
    ///
    /// # Errors
    /// Why there is none, in one line without a secret.
    fn passphrase(&self, id: u32, token: &Token) -> Result<SecretBytes, TokenFault>;
}

/// Why a token gave no passphrase.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenFault(Box<str>);

impl TokenFault {
    /// One line, without a full stop and without a secret.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into().into_boxed_str())
    }
}

/// Which tokens are tried; by default all of them.
///
/// ```
/// let choice = lucarne::TokenChoice { kind: Some("luks2-keyring".into()), ..Default::default() };
/// assert!(choice.id.is_none());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenChoice {
    /// Only the one with this number; it opens ignored keyslots too.
    pub id: Option<u32>,
    /// Only those of this type.
    pub kind: Option<String>,
}

impl TokenChoice {
    fn takes(&self, id: u32, token: &Token) -> bool {
        self.id.is_none_or(|chosen| chosen == id)
            && self
                .kind
                .as_ref()
                .is_none_or(|chosen| *chosen == token.kind)
    }
}

/// Tries tokens by number until a keyslot that one of them serves opens. A token is asked for its
/// passphrase only if one of its keyslots can be tried; the first of `unlockers` that takes it is asked.
///
/// # Errors
/// [`Error::NoUsableToken`] where no token is to be tried, [`Error::Token`] with the first reason where none
/// gave a passphrase, [`Error::WrongKey`] where passphrases opened nothing; what [`crate::unlock()`] says of
/// keyslots that could not be tried. The limits hold for all keyslots together.
pub fn unlock_by_token(
    header: &Header,
    storage: &dyn Storage,
    unlockers: &[&dyn Unlocker],
    choice: &TokenChoice,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let mut meter = CostMeter::new(&options.limits);
    let (mut wrong, mut not_tried, mut fault) = (None, None, None);
    for (&id, token) in header.metadata().tokens() {
        let Some(unlocker) = unlockers.iter().find(|unlocker| unlocker.takes(token)) else {
            continue;
        };
        let keyslots = served(header, token, choice, options)?;
        if !choice.takes(id, token) || keyslots.is_empty() {
            continue;
        }
        let passphrase = match unlocker.passphrase(id, token) {
            Ok(passphrase) => passphrase,
            Err(reason) => {
                tracing::debug!(token = id, %reason, "no passphrase from a token");
                fault.get_or_insert(Error::Token { id, fault: reason });
                continue;
            }
        };
        let result = try_keyslots(
            header,
            storage,
            &passphrase,
            keyslots,
            &mut meter,
            &mut not_tried,
        );
        match result? {
            Some(unlocked) => return Ok(unlocked),
            None => wrong = Some(Error::WrongKey),
        }
    }
    Err(not_tried
        .or(wrong)
        .or(fault)
        .unwrap_or(Error::NoUsableToken))
}

/// The passphrase that one token stands for, whatever it serves: that of a new keyslot
/// ([`KeyslotOptions::token`](crate::KeyslotOptions::token)). The first of `unlockers` that takes the token is asked.
///
/// # Errors
/// [`Error::NoUsableToken`] where there is no token with this number, or nobody takes it; [`Error::Token`] where it gave
/// none.
///
/// ```
/// # use lucarne::{FormatOptions, HeaderEditor, KdfKind, KdfRequest, KeyringToken, MemoryStorage};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// # let image = MemoryStorage::with_len(17 << 20);
/// # lucarne::format(&image, None, b"an example", &FormatOptions { kdf, ..Default::default() })?;
/// use lucarne::{Error, KernelKeyring, passphrase_of_token};
/// # let mut editor = HeaderEditor::open(&image)?;
/// # editor.add_keyring_token(None, false, &KeyringToken::new("lucarne:none")?, &[])?;
/// let of = |id| passphrase_of_token(editor.header(), &[&KernelKeyring], id);
/// assert!(matches!(of(0), Err(Error::Token { id: 0, .. })));
/// assert!(matches!(of(1), Err(Error::NoUsableToken)));
/// # Ok::<(), lucarne::Error>(())
/// ```
pub fn passphrase_of_token(
    header: &Header,
    unlockers: &[&dyn Unlocker],
    id: u32,
) -> Result<SecretBytes, Error> {
    let token = header.metadata().tokens().get(&id);
    let token = token.ok_or(Error::NoUsableToken)?;
    let unlocker = unlockers.iter().find(|unlocker| unlocker.takes(token));
    unlocker
        .ok_or(Error::NoUsableToken)?
        .passphrase(id, token)
        .map_err(|fault| Error::Token { id, fault })
}

/// The keyslots that a token serves and that may be tried, in their order.
fn served(
    header: &Header,
    token: &Token,
    choice: &TokenChoice,
    options: &UnlockOptions,
) -> Result<Vec<u32>, Error> {
    if choice.id.is_some() && options.keyslot.is_none() {
        let served = token.keyslots.iter().copied();
        return Ok(served
            .filter(|&id| is_usable(header, id, options.allow_unbound))
            .collect());
    }
    if options
        .keyslot
        .is_some_and(|id| !token.keyslots.contains(&id))
    {
        return Ok(Vec::new());
    }
    let mut keyslots = keyslots_to_try(header, options)?;
    keyslots.retain(|id| token.keyslots.contains(id));
    Ok(keyslots)
}
