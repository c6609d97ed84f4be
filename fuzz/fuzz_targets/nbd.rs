//! What an NBD client says: its handshake, and then its requests. Whatever comes, it is answered or cut off; what is
//! wanted next and what is answered is bounded; and nothing outside of the export is ever done.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne_serve::nbd::{Action, ExportEntry, Negotiation, Request, Step};

const LEN: u64 = 5 << 20;

fuzz_target!(|input: &[u8]| {
    // The first byte is not the client's: an odd one has the server ask for TLS.
    let Some((&mode, said)) = input.split_first() else {
        return;
    };
    let entry = |name: &str, is_read_only| ExportEntry {
        name: name.into(),
        description: "an example".into(),
        len: LEN,
        is_read_only,
        can_trim: true,
        block_len: 4096,
    };
    let exports = [entry("weights", false), entry("kept", true)];
    let mut out = Vec::new();
    let mut negotiation = Negotiation::new(&exports, mode % 2 == 1, &mut out);
    let mut rest = said;
    let session = loop {
        let wanted = negotiation.wants();
        assert!((1..=64 << 10).contains(&wanted));
        let Some((bytes, after)) = rest.split_at_checked(wanted) else {
            return;
        };
        rest = after;
        out.clear();
        match negotiation.take(bytes, &mut out) {
            Ok(Step::More) => {}
            Ok(Step::StartTls) => negotiation.tls_is_active(),
            Ok(Step::Closed) | Err(_) => return,
            Ok(Step::Transmission(session)) => break session,
        }
        assert!(out.len() <= 4096);
    };
    while let Some((header, after)) = rest.split_at_checked(Request::header_len(session.kind)) {
        let Ok(request) = Request::parse(header, session.kind) else {
            return;
        };
        let Ok(payload_len) = request.payload_len(session.kind) else {
            return;
        };
        assert!(payload_len <= 32 << 20);
        let (offset, len) = match request.action(&session) {
            Action::Read { offset, len, .. } => {
                assert!(len <= 32 << 20);
                (offset, u64::from(len))
            }
            Action::Write { offset, len, .. } => {
                assert!(!session.is_read_only && len == payload_len);
                (offset, u64::from(len))
            }
            Action::Trim { offset, len, .. } | Action::Zero { offset, len, .. } => {
                assert!(!session.is_read_only);
                (offset, len)
            }
            Action::Status { offset, len, .. } => {
                assert!(session.has_allocation && len > 0);
                (offset, len)
            }
            Action::Disconnect => return,
            Action::Flush | Action::Cache | Action::Refuse(..) => (0, 0),
        };
        assert!(offset.checked_add(len).is_some_and(|end| end <= LEN));
        rest = after.get(payload_len as usize..).unwrap_or_default();
    }
});
