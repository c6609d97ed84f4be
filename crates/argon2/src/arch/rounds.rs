//! The permutation P and the block function made of it, for vectors of any width.
//!
//! Everything here is inlined into the one function of each kernel that is compiled for its
//! instructions; on its own it would be compiled for those that every CPU has.

use crate::block::Block;

/// Words side by side. Such a value exists only where the CPU has the instructions for it.
pub(super) trait Vector: Copy {
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// The product of the words' lower halves.
    fn multiply(self, other: Self) -> Self;
    fn rotate_right<const N: i32>(self) -> Self;
    /// The words of each four, N places down.
    fn turn<const N: i32>(self) -> Self;
    /// Of each pair the upper word, then the lower word of `other`.
    fn straddle(self, other: Self) -> Self;
}

/// A kernel's vectors, and their way into a block and out of it.
pub(super) trait Vectors: Copy {
    type Vector: Vector;

    /// The block's words from `i` vectors on.
    fn load(self, block: &Block, i: usize) -> Self::Vector;
    fn store(self, block: &mut Block, i: usize, vector: Self::Vector);
}

/// How a block, an 8 × 8 matrix of pairs of words, lies in vectors.
pub(super) trait Layout: Vectors {
    /// The vectors of a block, row after row.
    type State;

    /// P on each row.
    fn rows(vector: impl Fn(usize) -> Self::Vector) -> Self::State;
    /// P on each column.
    fn columns(state: &Self::State, sink: impl FnMut(usize, Self::Vector));
}

/// RFC 9106, 3.5: `block = G(x, y)`, or `block ^= G(x, y)` if it goes `ONTO` what was there.
#[inline(always)]
pub(super) fn block_function<L: Layout, const ONTO: bool>(
    layout: L,
    block: &mut Block,
    x: &Block,
    y: &Block,
) {
    // Computed twice: the inputs are in the cache, and registers are few.
    let sum = |i| layout.load(x, i).xor(layout.load(y, i));
    let state = L::rows(sum);
    L::columns(&state, |i, vector| {
        let mut result = vector.xor(sum(i));
        if ONTO {
            result = result.xor(layout.load(block, i));
        }
        layout.store(block, i, result);
    });
}

/// P on rows: each four words are of one row. `a` has v0 to v3, `b` from v4, `c` from v8, `d` from
/// v12 on.
#[inline(always)]
pub(super) fn permute_rows<V: Vector, const N: usize>(
    [mut a, mut b, mut c, mut d]: [[V; N]; 4],
) -> [[V; N]; 4] {
    mix(&mut a, &mut b, &mut c, &mut d);
    b = b.map(V::turn::<1>);
    c = c.map(V::turn::<2>);
    d = d.map(V::turn::<3>);
    mix(&mut a, &mut b, &mut c, &mut d);
    b = b.map(V::turn::<3>);
    c = c.map(V::turn::<2>);
    d = d.map(V::turn::<1>);
    [a, b, c, d]
}

/// P on columns: each two words are of one column, and vectors 0 and 1 together have four of it, as
/// have 2 and 3.
#[inline(always)]
pub(super) fn permute_columns<V: Vector, const N: usize>(
    [mut a, mut b, mut c, mut d]: [[V; N]; 4],
) -> [[V; N]; 4] {
    let upwards = |v: [V; N]| std::array::from_fn(|i| v[i].straddle(v[i ^ 1]));
    let downwards = |v: [V; N]| std::array::from_fn(|i| v[i ^ 1].straddle(v[i]));
    let swap = |v: [V; N]| std::array::from_fn(|i| v[i ^ 1]);
    mix(&mut a, &mut b, &mut c, &mut d);
    b = upwards(b);
    c = swap(c);
    d = downwards(d);
    mix(&mut a, &mut b, &mut c, &mut d);
    b = downwards(b);
    c = swap(c);
    d = upwards(d);
    [a, b, c, d]
}

/// GB of RFC 9106, 3.6, on every word. N streams side by side hide the multiplication's latency.
#[inline(always)]
fn mix<V: Vector, const N: usize>(a: &mut [V; N], b: &mut [V; N], c: &mut [V; N], d: &mut [V; N]) {
    half_mix::<V, N, 32, 24>(a, b, c, d);
    half_mix::<V, N, 16, 63>(a, b, c, d);
}

#[inline(always)]
fn half_mix<V: Vector, const N: usize, const D: i32, const B: i32>(
    a: &mut [V; N],
    b: &mut [V; N],
    c: &mut [V; N],
    d: &mut [V; N],
) {
    for i in 0..N {
        a[i] = multiply_add(a[i], b[i]);
        d[i] = d[i].xor(a[i]).rotate_right::<D>();
    }
    for i in 0..N {
        c[i] = multiply_add(c[i], d[i]);
        b[i] = b[i].xor(c[i]).rotate_right::<B>();
    }
}

/// x + y + 2 × lower(x) × lower(y).
#[inline(always)]
fn multiply_add<V: Vector>(x: V, y: V) -> V {
    let product = x.multiply(y);
    x.add(y).add(product.add(product))
}
