//! The handshake: options asked and answered until a client has chosen an export.

use super::protocol::{
    BASE_ALLOCATION, BASE_ALLOCATION_ID, FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, INIT_MAGIC,
    OPTION_LEN_MAX, OPTION_MAGIC, OPTION_REPLY_MAGIC, OPTIONS_MAX, PAYLOAD_LEN_MAX, STRING_LEN_MAX,
    info, option, option_reply, transmission,
};
use super::session::{ReplyKind, Session};

/// Options longer than what is answered are read and dropped up to this length; beyond, the client is cut off.
const SKIPPED_LEN_MAX: u32 = 1 << 20;

/// What a client may know of an export before it has it.
///
/// ```
/// let entry = lucarne_serve::nbd::ExportEntry {
///     name: "weights".into(),
///     description: String::new(),
///     len: 1 << 30,
///     is_read_only: true,
///     can_trim: false,
///     block_len: 4096,
/// };
/// assert_eq!(entry.name, "weights");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportEntry {
    /// What clients ask for; the first export also answers to the empty name.
    pub name: String,
    /// For people.
    pub description: String,
    /// In bytes.
    pub len: u64,
    /// Whether writing is refused.
    pub is_read_only: bool,
    /// Whether TRIM is offered.
    pub can_trim: bool,
    /// What requests go best in multiples of, in bytes.
    pub block_len: u32,
}

/// Why a client is cut off.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// A number that must stand there does not.
    #[error("{what} is {value:#x} and not {expected:#x}")]
    Magic {
        /// Of what.
        what: &'static str,
        /// What came.
        value: u64,
        /// What must come.
        expected: u64,
    },
    /// The client has flags that are not known.
    #[error("the client's flags {0:#x} are not known")]
    ClientFlags(u32),
    /// More than is ever dealt with.
    #[error("{what} of {value} bytes: at most {limit} are taken")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// What was announced.
        value: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// A client that never comes to the point.
    #[error("more than {0} options")]
    TooManyOptions(u32),
    /// The old way to ask for an export cannot be answered with an error.
    #[error("there is no export {0:?}")]
    NoSuchExport(String),
    /// The old way to ask for an export, without TLS where that is required.
    #[error("an export was asked for without TLS, which is required here")]
    TlsRequired,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// More of the handshake.
    More,
    /// The client's next byte belongs to TLS, and so does all that follows.
    StartTls,
    /// The handshake is over.
    Transmission(Session),
    /// The client has taken its leave.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ClientFlags,
    OptionHeader,
    OptionData { option: u32, len: u32 },
    Skipping { left: u32 },
}

/// Whether the connection is encrypted, or can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// It cannot.
    None,
    /// It must be, and is not yet.
    Required,
    /// It is.
    Active,
}

/// One client's handshake.
///
/// It is fed exactly as many bytes as it wants, and gives the bytes that are to be sent.
///
/// ```
/// use lucarne_serve::nbd::{ExportEntry, Negotiation, Step};
///
/// let exports = [ExportEntry {
///     name: String::new(), description: String::new(), len: 4096,
///     is_read_only: true, can_trim: false, block_len: 512,
/// }];
/// let mut out = Vec::new();
/// let mut negotiation = Negotiation::new(&exports, false, &mut out);
/// assert_eq!(&out[..16], b"NBDMAGICIHAVEOPT");
/// assert_eq!(negotiation.wants(), 4);
/// assert_eq!(negotiation.take(&[0, 0, 0, 1], &mut out)?, Step::More);
/// # Ok::<(), lucarne_serve::nbd::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Negotiation<'e> {
    exports: &'e [ExportEntry],
    tls: Tls,
    state: State,
    no_zeroes: bool,
    options: u32,
    kind: ReplyKind,
    /// The export whose `base:allocation` was chosen.
    allocation_of: Option<usize>,
}

impl<'e> Negotiation<'e> {
    /// Greets the client. `exports` is not empty.
    pub fn new(exports: &'e [ExportEntry], requires_tls: bool, out: &mut Vec<u8>) -> Self {
        out.extend(INIT_MAGIC.to_be_bytes());
        out.extend(OPTION_MAGIC.to_be_bytes());
        out.extend((FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
        Self {
            exports,
            tls: if requires_tls {
                Tls::Required
            } else {
                Tls::None
            },
            state: State::ClientFlags,
            no_zeroes: false,
            options: 0,
            kind: ReplyKind::Simple,
            allocation_of: None,
        }
    }

    /// How many bytes of the client's [`Self::take`] is to be given next; bounded by 64 KiB.
    pub fn wants(&self) -> usize {
        match self.state {
            State::ClientFlags => 4,
            State::OptionHeader => 16,
            State::OptionData { len, .. } => len as usize,
            State::Skipping { left } => left.min(OPTION_LEN_MAX) as usize,
        }
    }

    /// Takes what the client sent: [`Self::wants`] bytes. What is to be sent back is added to `out`, also when the
    /// client is to be cut off.
    ///
    /// # Errors
    /// When the connection is to be closed.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, ProtocolError> {
        match self.state {
            State::ClientFlags => self.client_flags(be_u32(bytes, 0)),
            State::OptionHeader => self.option_header(bytes, out),
            State::OptionData { option, .. } => {
                self.state = State::OptionHeader;
                self.option(option, bytes, out)
            }
            State::Skipping { left } => {
                let left = left.saturating_sub(OPTION_LEN_MAX);
                self.state = match left {
                    0 => State::OptionHeader,
                    left => State::Skipping { left },
                };
                Ok(Step::More)
            }
        }
    }

    /// TLS is on: what was agreed before does not count.
    pub fn tls_is_active(&mut self) {
        self.tls = Tls::Active;
        self.kind = ReplyKind::Simple;
        self.allocation_of = None;
    }

    fn client_flags(&mut self, flags: u32) -> Result<Step, ProtocolError> {
        let known = u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
        if flags & !known != 0 {
            return Err(ProtocolError::ClientFlags(flags));
        }
        self.no_zeroes = flags & u32::from(FLAG_NO_ZEROES) != 0;
        self.state = State::OptionHeader;
        Ok(Step::More)
    }

    fn option_header(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, ProtocolError> {
        let magic = be_u64(bytes, 0);
        if magic != OPTION_MAGIC {
            return Err(ProtocolError::Magic {
                what: "an option's magic number",
                value: magic,
                expected: OPTION_MAGIC,
            });
        }
        self.options += 1;
        if self.options > OPTIONS_MAX {
            return Err(ProtocolError::TooManyOptions(OPTIONS_MAX));
        }
        let (option, len) = (be_u32(bytes, 8), be_u32(bytes, 12));
        if len > SKIPPED_LEN_MAX {
            return Err(ProtocolError::TooLong {
                what: "an option",
                value: u64::from(len),
                limit: u64::from(SKIPPED_LEN_MAX),
            });
        }
        if len > OPTION_LEN_MAX {
            refuse(
                out,
                option,
                option_reply::ERR_TOO_BIG,
                "the option is too long",
            );
            self.state = State::Skipping { left: len };
            return Ok(Step::More);
        }
        if len > 0 {
            self.state = State::OptionData { option, len };
            return Ok(Step::More);
        }
        self.option(option, &[], out)
    }

    fn option(
        &mut self,
        option: u32,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, ProtocolError> {
        if self.tls == Tls::Required && !matches!(option, option::STARTTLS | option::ABORT) {
            if option == option::EXPORT_NAME {
                return Err(ProtocolError::TlsRequired);
            }
            refuse(
                out,
                option,
                option_reply::ERR_TLS_REQD,
                "TLS is required here",
            );
            return Ok(Step::More);
        }
        match option {
            option::EXPORT_NAME => return self.export_name(data, out),
            option::ABORT => {
                answer(out, option, option_reply::ACK, &[]);
                return Ok(Step::Closed);
            }
            option::STARTTLS if !data.is_empty() => invalid(out, option, "STARTTLS has no data"),
            option::STARTTLS if self.tls == Tls::Required => {
                answer(out, option, option_reply::ACK, &[]);
                return Ok(Step::StartTls);
            }
            option::STARTTLS if self.tls == Tls::Active => {
                invalid(out, option, "TLS is on already")
            }
            option::LIST => self.list(data, out),
            option::INFO | option::GO => return Ok(self.info_or_go(option, data, out)),
            option::STRUCTURED_REPLY => self.structured_reply(data, out),
            option::EXTENDED_HEADERS => self.extended_headers(data, out),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.meta_context(option, data, out);
            }
            _ => refuse(
                out,
                option,
                option_reply::ERR_UNSUP,
                "the option is not known here",
            ),
        }
        Ok(Step::More)
    }

    fn export_name(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Step, ProtocolError> {
        let found = std::str::from_utf8(data)
            .ok()
            .and_then(|name| self.find(name));
        let Some(index) = found else {
            let name = String::from_utf8_lossy(&data[..data.len().min(STRING_LEN_MAX)]);
            return Err(ProtocolError::NoSuchExport(name.into_owned()));
        };
        let export = &self.exports[index];
        out.extend(export.len.to_be_bytes());
        out.extend(self.flags_of(export).to_be_bytes());
        if !self.no_zeroes {
            out.extend([0; 124]);
        }
        Ok(Step::Transmission(self.session(index)))
    }

    fn list(&self, data: &[u8], out: &mut Vec<u8>) {
        if !data.is_empty() {
            return invalid(out, option::LIST, "LIST has no data");
        }
        for export in self.exports {
            let mut entry = string(&export.name);
            entry.extend(export.description.as_bytes());
            answer(out, option::LIST, option_reply::SERVER, &entry);
        }
        answer(out, option::LIST, option_reply::ACK, &[]);
    }

    fn info_or_go(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) -> Step {
        let mut fields = Fields(data);
        let parsed = fields.string().and_then(|name| {
            let count = fields.u16()?;
            let wanted = fields.take(2 * usize::from(count))?;
            fields.0.is_empty().then_some((name, wanted))
        });
        let Some((name, wanted)) = parsed else {
            invalid(out, option, "the option's lengths do not agree");
            return Step::More;
        };
        let Some(index) = self.find(name) else {
            refuse(
                out,
                option,
                option_reply::ERR_UNKNOWN,
                "there is no such export",
            );
            return Step::More;
        };
        let export = &self.exports[index];
        let mut about = info::EXPORT.to_be_bytes().to_vec();
        about.extend(export.len.to_be_bytes());
        about.extend(self.flags_of(export).to_be_bytes());
        answer(out, option, option_reply::INFO, &about);
        let wants = |kind: u16| wanted.chunks_exact(2).any(|pair| be_u16(pair, 0) == kind);
        for (kind, text) in [
            (info::NAME, &export.name),
            (info::DESCRIPTION, &export.description),
        ] {
            if wants(kind) {
                let mut about = kind.to_be_bytes().to_vec();
                about.extend(text.as_bytes());
                answer(out, option, option_reply::INFO, &about);
            }
        }
        if wants(info::BLOCK_SIZE) {
            let mut about = info::BLOCK_SIZE.to_be_bytes().to_vec();
            for size in [1, export.block_len, PAYLOAD_LEN_MAX] {
                about.extend(size.to_be_bytes());
            }
            answer(out, option, option_reply::INFO, &about);
        }
        answer(out, option, option_reply::ACK, &[]);
        match option {
            option::GO => Step::Transmission(self.session(index)),
            _ => Step::More,
        }
    }

    fn structured_reply(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let option = option::STRUCTURED_REPLY;
        if !data.is_empty() {
            return invalid(out, option, "STRUCTURED_REPLY has no data");
        }
        match self.kind {
            ReplyKind::Simple => {
                self.kind = ReplyKind::Structured;
                answer(out, option, option_reply::ACK, &[]);
            }
            ReplyKind::Structured => invalid(out, option, "structured replies are agreed already"),
            ReplyKind::Extended => refuse(
                out,
                option,
                option_reply::ERR_EXT_HEADER_REQD,
                "extended headers are agreed already",
            ),
        }
    }

    fn extended_headers(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let option = option::EXTENDED_HEADERS;
        if !data.is_empty() {
            return invalid(out, option, "EXTENDED_HEADERS has no data");
        }
        if self.kind == ReplyKind::Extended {
            return invalid(out, option, "extended headers are agreed already");
        }
        self.kind = ReplyKind::Extended;
        answer(out, option, option_reply::ACK, &[]);
    }

    fn meta_context(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) {
        let is_set = option == option::SET_META_CONTEXT;
        if is_set {
            // Whatever was chosen before is not any more, also when this fails.
            self.allocation_of = None;
        }
        let mut fields = Fields(data);
        let parsed = fields
            .string()
            .and_then(|name| Some((name, fields.queries()?)));
        let Some((name, queries)) = parsed else {
            return invalid(out, option, "the option's lengths do not agree");
        };
        if is_set && self.kind == ReplyKind::Simple {
            return invalid(out, option, "metadata contexts need structured replies");
        }
        let Some(index) = self.find(name) else {
            return refuse(
                out,
                option,
                option_reply::ERR_UNKNOWN,
                "there is no such export",
            );
        };
        let is_asked = match is_set {
            true => queries.contains(&BASE_ALLOCATION.as_bytes()),
            // No question at all asks for everything, a name space for all of it.
            false => {
                queries.is_empty()
                    || queries
                        .iter()
                        .any(|query| [BASE_ALLOCATION.as_bytes(), b"base:"].contains(query))
            }
        };
        if is_asked {
            let id = if is_set { BASE_ALLOCATION_ID } else { 0 };
            let mut context = id.to_be_bytes().to_vec();
            context.extend(BASE_ALLOCATION.as_bytes());
            answer(out, option, option_reply::META_CONTEXT, &context);
            if is_set {
                self.allocation_of = Some(index);
            }
        }
        answer(out, option, option_reply::ACK, &[]);
    }

    fn find(&self, name: &str) -> Option<usize> {
        let by_name = self.exports.iter().position(|export| export.name == name);
        by_name.or((name.is_empty() && !self.exports.is_empty()).then_some(0))
    }

    fn session(&self, index: usize) -> Session {
        let export = &self.exports[index];
        Session {
            export: index,
            len: export.len,
            is_read_only: export.is_read_only,
            can_trim: export.can_trim,
            kind: self.kind,
            has_allocation: self.allocation_of == Some(index),
        }
    }

    fn flags_of(&self, export: &ExportEntry) -> u16 {
        use transmission as flag;
        let mut flags = flag::HAS_FLAGS
            | flag::SEND_FLUSH
            | flag::SEND_FUA
            | flag::CAN_MULTI_CONN
            | flag::SEND_CACHE;
        if self.kind != ReplyKind::Simple {
            flags |= flag::SEND_DF;
        }
        if export.is_read_only {
            return flags | flag::READ_ONLY;
        }
        flags |= flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO;
        if export.can_trim {
            flags |= flag::SEND_TRIM;
        }
        flags
    }
}

fn answer(out: &mut Vec<u8>, option: u32, reply: u32, data: &[u8]) {
    out.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(reply.to_be_bytes());
    out.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    out.extend(data);
}

fn refuse(out: &mut Vec<u8>, option: u32, reply: u32, why: &str) {
    answer(out, option, reply, why.as_bytes());
}

fn invalid(out: &mut Vec<u8>, option: u32, why: &str) {
    refuse(out, option, option_reply::ERR_INVALID, why);
}

fn string(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap_or(0);
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// An option's data, taken from the front.
struct Fields<'d>(&'d [u8]);

impl<'d> Fields<'d> {
    fn take(&mut self, len: usize) -> Option<&'d [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| be_u16(bytes, 0))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| be_u32(bytes, 0))
    }

    fn bytes(&mut self) -> Option<&'d [u8]> {
        let len = self.u32()? as usize;
        (len <= STRING_LEN_MAX).then(|| self.take(len)).flatten()
    }

    fn string(&mut self) -> Option<&'d str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// All that is left: a number, and so many strings.
    fn queries(&mut self) -> Option<Vec<&'d [u8]>> {
        let count = self.u32()?;
        let mut queries = Vec::new();
        // Each takes four bytes at least, so the data bound them.
        for _ in 0..count {
            queries.push(self.bytes()?);
        }
        self.0.is_empty().then_some(queries)
    }
}

pub(super) fn be_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

pub(super) fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(super) fn be_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

/// Bytes that are not there count as zeros: callers give as many as were asked for.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    if let Some(present) = bytes.get(at..at + N) {
        array.copy_from_slice(present);
    }
    array
}
