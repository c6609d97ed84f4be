//! The tensors of well-known open models, from their public configurations.

/// Whose tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Half a billion parameters: Qwen2.5-0.5B's configuration.
    Small,
    /// Seven billion: Llama-2-7B's configuration.
    SevenB,
    /// Seventy billion: Llama-2-70B's configuration.
    SeventyB,
}

/// The numbers of a `config.json`.
struct Config {
    hidden: u64,
    intermediate: u64,
    layers: u64,
    /// Width of keys and values: fewer heads than queries have share them.
    key_value: u64,
    vocabulary: u64,
    /// The output's matrix is the embedding's.
    is_tied: bool,
    has_bias: bool,
}

impl Model {
    /// What the option calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::SevenB => "7b",
            Self::SeventyB => "70b",
        }
    }

    /// Whose configuration it is.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Small => "shapes of Qwen2.5-0.5B",
            Self::SevenB => "shapes of Llama-2-7B",
            Self::SeventyB => "shapes of Llama-2-70B",
        }
    }

    fn config(self) -> Config {
        match self {
            Self::Small => Config {
                hidden: 896,
                intermediate: 4864,
                layers: 24,
                key_value: 128,
                vocabulary: 151_936,
                is_tied: true,
                has_bias: true,
            },
            Self::SevenB => Config {
                hidden: 4096,
                intermediate: 11_008,
                layers: 32,
                key_value: 4096,
                vocabulary: 32_000,
                is_tied: false,
                has_bias: false,
            },
            Self::SeventyB => Config {
                hidden: 8192,
                intermediate: 28_672,
                layers: 80,
                key_value: 1024,
                vocabulary: 32_000,
                is_tied: false,
                has_bias: false,
            },
        }
    }

    /// Names and shapes of about `len_bytes` of bf16 numbers: as many of the model's layers as fit beside a
    /// vocabulary scaled by the same share, and more (copies of the last) where the model is smaller. Where not
    /// even one layer fits, the matrices are narrower.
    pub(super) fn shapes(self, len_bytes: u64) -> Vec<(String, Vec<u64>)> {
        let mut config = self.config();
        let elements = (len_bytes / 2).max(1 << 12);
        // An eighth at most for the vocabulary where there is a choice.
        while config.hidden > 64 && config.layer_elements() + config.hidden * 64 > elements {
            config.hidden /= 2;
            config.intermediate /= 2;
            config.key_value = (config.key_value / 2).max(16);
        }
        let share = elements as f64 / config.elements() as f64;
        let vocabulary = (config.vocabulary as f64 * share.min(1.0)) as u64;
        let row = config.hidden * config.embedding_count();
        let most = elements.saturating_sub(config.layer_elements()) / row;
        config.vocabulary = vocabulary.min(most).max(64);
        let embeddings = config.embedding_elements();
        config.layers = (elements.saturating_sub(embeddings) / config.layer_elements()).max(1);
        // What is left over goes into the vocabulary.
        let rest = elements.saturating_sub(config.elements());
        config.vocabulary += rest / row;
        config.shapes()
    }
}

impl Config {
    fn embedding_count(&self) -> u64 {
        if self.is_tied { 1 } else { 2 }
    }

    fn embedding_elements(&self) -> u64 {
        self.vocabulary * self.hidden * self.embedding_count()
    }

    fn layer(&self) -> Vec<(&'static str, Vec<u64>)> {
        let (hidden, key_value) = (self.hidden, self.key_value);
        let mut layer = vec![
            ("input_layernorm.weight", vec![hidden]),
            ("mlp.down_proj.weight", vec![hidden, self.intermediate]),
            ("mlp.gate_proj.weight", vec![self.intermediate, hidden]),
            ("mlp.up_proj.weight", vec![self.intermediate, hidden]),
            ("post_attention_layernorm.weight", vec![hidden]),
            ("self_attn.k_proj.weight", vec![key_value, hidden]),
            ("self_attn.o_proj.weight", vec![hidden, hidden]),
            ("self_attn.q_proj.weight", vec![hidden, hidden]),
            ("self_attn.v_proj.weight", vec![key_value, hidden]),
        ];
        if self.has_bias {
            layer.push(("self_attn.k_proj.bias", vec![key_value]));
            layer.push(("self_attn.q_proj.bias", vec![hidden]));
            layer.push(("self_attn.v_proj.bias", vec![key_value]));
        }
        layer
    }

    fn layer_elements(&self) -> u64 {
        let layer = self.layer();
        layer
            .iter()
            .map(|(_, shape)| shape.iter().product::<u64>())
            .sum()
    }

    fn elements(&self) -> u64 {
        self.embedding_elements() + self.layers * self.layer_elements() + self.hidden
    }

    fn shapes(&self) -> Vec<(String, Vec<u64>)> {
        let embedding = vec![self.vocabulary, self.hidden];
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), embedding.clone())];
        for layer in 0..self.layers {
            for (name, shape) in self.layer() {
                shapes.push((format!("model.layers.{layer}.{name}"), shape));
            }
        }
        shapes.push(("model.norm.weight".to_owned(), vec![self.hidden]));
        if !self.is_tied {
            shapes.push(("lm_head.weight".to_owned(), embedding));
        }
        shapes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Checkpoint;

    /// The parameter counts that the models' cards name.
    #[test]
    fn configurations_have_the_published_numbers_of_parameters() {
        for (model, parameters) in [
            (Model::Small, 494_032_768),
            (Model::SevenB, 6_738_415_616),
            (Model::SeventyB, 68_976_648_192),
        ] {
            assert_eq!(model.config().elements(), parameters, "{}", model.name());
        }
    }

    #[test]
    fn every_size_is_met() {
        for model in [Model::Small, Model::SevenB, Model::SeventyB] {
            for len in [1 << 20, 10 << 20, 1 << 30, 5 << 30] {
                let file = Checkpoint::of_model(model, len);
                let off = file.len_bytes.abs_diff(len);
                assert!(
                    off < len / 10,
                    "{} of {len}: {}",
                    model.name(),
                    file.len_bytes
                );
                assert!(
                    len < 64 << 20 || off < len / 64,
                    "{} of {len}: {}",
                    model.name(),
                    file.len_bytes
                );
            }
        }
    }
}
