//! The header's JSON, read straight into tensors: what it costs is bounded by its length, whatever it nests.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::dtype::Dtype;

/// More dimensions than any library can hold (NumPy and PyTorch have 64). Each costs two bytes of JSON and eight
/// of memory.
const MAX_DIMENSIONS: usize = 64;

/// The member that is no tensor.
const METADATA: &str = "__metadata__";

/// What the JSON says, before its numbers are judged.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: Vec<ListedTensor>,
}

#[derive(Debug)]
pub(crate) struct ListedTensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

pub(crate) fn parse(json: &str) -> Result<Listed, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let listed = deserializer.deserialize_map(ListedVisitor)?;
    deserializer.end()?;
    Ok(listed)
}

struct ListedVisitor;

impl<'de> Visitor<'de> for ListedVisitor {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
        let mut listed = Listed::default();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name != METADATA {
                listed.tensors.push(map.next_value_seed(TensorSeed(name))?);
                continue;
            }
            if has_metadata {
                return Err(A::Error::custom(format!("two members {METADATA}")));
            }
            has_metadata = true;
            listed.metadata = map
                .next_value_seed(MetadataSeed)
                .map_err(|error| A::Error::custom(format!("{METADATA}: {error}")))?;
        }
        Ok(listed)
    }
}

/// Texts, or null for none.
struct MetadataSeed;

impl<'de> DeserializeSeed<'de> for MetadataSeed {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        while let Some((name, text)) = map.next_entry::<String, String>()? {
            if metadata.contains_key(&name) {
                return Err(A::Error::custom(format!("two members {name:?}")));
            }
            metadata.insert(name, text);
        }
        Ok(metadata)
    }
}

/// A tensor of this name.
struct TensorSeed(String);

impl<'de> DeserializeSeed<'de> for TensorSeed {
    type Value = ListedTensor;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ListedTensor, D::Error> {
        let name = self.0;
        let members = deserializer
            .deserialize_map(TensorVisitor)
            .map_err(|error| D::Error::custom(format!("tensor {name:?}: {error}")))?;
        let missing = |field| D::Error::custom(format!("tensor {name:?}: no {field}"));
        let dtype = members.dtype.ok_or_else(|| missing("dtype"))?;
        let shape = members.shape.ok_or_else(|| missing("shape"))?;
        let (begin, end) = members
            .data_offsets
            .ok_or_else(|| missing("data_offsets"))?;
        Ok(ListedTensor {
            name,
            dtype,
            shape,
            begin,
            end,
        })
    }
}

#[derive(Default)]
struct Members {
    dtype: Option<Dtype>,
    shape: Option<Vec<u64>>,
    data_offsets: Option<(u64, u64)>,
}

struct TensorVisitor;

impl<'de> Visitor<'de> for TensorVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        let mut others = HashSet::new();
        while let Some(field) = map.next_key::<String>()? {
            let in_field = |error| A::Error::custom(format!("{field}: {error}"));
            let is_first = match field.as_str() {
                "dtype" => {
                    let name: String = map.next_value().map_err(in_field)?;
                    let dtype = name
                        .parse()
                        .map_err(|_| A::Error::custom(format!("dtype {name:?} is unknown")))?;
                    members.dtype.replace(dtype).is_none()
                }
                "shape" => {
                    let shape = map.next_value_seed(ShapeSeed).map_err(in_field)?;
                    members.shape.replace(shape).is_none()
                }
                "data_offsets" => {
                    let offsets = map.next_value_seed(OffsetsSeed).map_err(in_field)?;
                    members.data_offsets.replace(offsets).is_none()
                }
                // Unknown to the reference too, which reads over them.
                _ => {
                    map.next_value_seed(Discarded).map_err(in_field)?;
                    others.insert(field.clone())
                }
            };
            if !is_first {
                return Err(A::Error::custom(format!("two members {field:?}")));
            }
        }
        Ok(members)
    }
}

struct ShapeSeed;

impl<'de> DeserializeSeed<'de> for ShapeSeed {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of whole numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut shape = Vec::new();
        while let Some(dimension) = list.next_element()? {
            if shape.len() == MAX_DIMENSIONS {
                return Err(A::Error::custom(format!(
                    "more than {MAX_DIMENSIONS} dimensions"
                )));
            }
            shape.push(dimension);
        }
        Ok(shape)
    }
}

struct OffsetsSeed;

impl<'de> DeserializeSeed<'de> for OffsetsSeed {
    type Value = (u64, u64);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(u64, u64), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OffsetsSeed {
    type Value = (u64, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of two whole numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(u64, u64), A::Error> {
        let missing = |count| A::Error::invalid_length(count, &self);
        let begin = list.next_element()?.ok_or_else(|| missing(0))?;
        let end = list.next_element()?.ok_or_else(|| missing(1))?;
        match list.next_element::<IgnoredAny>()? {
            None => Ok((begin, end)),
            Some(_) => Err(missing(3)),
        }
    }
}

/// Any value, read as strictly as if it were kept (`IgnoredAny` reads over numbers and texts that are none).
struct Discarded;

impl<'de> DeserializeSeed<'de> for Discarded {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Discarded {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Discarded)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<String>()?.is_some() {
            map.next_value_seed(Discarded)?;
        }
        Ok(())
    }
}
