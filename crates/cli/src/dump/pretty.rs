//! The header's JSON in the layout of json-c, which cryptsetup prints with.

use std::io;

use serde::Serialize;
use serde_json::{
    Map, Serializer, Value,
    ser::{CharEscape, Formatter},
};

/// Two spaces a level, nothing after a colon, and a line break even in what is empty.
#[derive(Default)]
struct JsonC {
    depth: usize,
}

impl JsonC {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        self.new_line(writer)?;
        writer.write_all(bracket)
    }

    fn new_line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }

    fn next<W: ?Sized + io::Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.new_line(writer)
    }
}

impl Formatter for JsonC {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first)
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
        }
    }
}

/// The JSON as `luksDump --dump-json-metadata` prints it: without a final line break.
pub(crate) fn metadata_json(json: &Map<String, Value>) -> String {
    let mut bytes = Vec::new();
    json.serialize(&mut Serializer::with_formatter(
        &mut bytes,
        JsonC::default(),
    ))
    .unwrap_or_else(|_| unreachable!("writing to a Vec cannot fail"));
    String::from_utf8(bytes).unwrap_or_else(|_| unreachable!("serde_json writes UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As printed by cryptsetup 2.6.1 for a token with these members.
    #[test]
    fn the_layout_is_that_of_json_c() {
        let json = r#"{"type":"weird/\u0007é","keyslots":[],"arr":[1,[],{},{"a":[1.5,true,null,"x/y\"\\\n"]}],"f":1.0,"e":{}}"#;
        let expected = r#"{
  "type":"weird/\u0007é",
  "keyslots":[
  ],
  "arr":[
    1,
    [
    ],
    {
    },
    {
      "a":[
        1.5,
        true,
        null,
        "x/y\"\\\n"
      ]
    }
  ],
  "f":1.0,
  "e":{
  }
}"#;
        assert_eq!(
            metadata_json(&serde_json::from_str(json).unwrap()),
            expected
        );
    }
}
