//! The wrapper around serde's traits that shows a [`Gauge`] what becomes a tree.
//!
//! What is asked for by `deserialize_any` is a tree; whatever else is asked for has a type. Must not know bounds.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::protocol::raw::RAW_VALUE;
use crate::protocol::tree::gauge::{Gauge, Slip};

/// A deserializer, a visitor, a seed or an access under a gauge.
pub(crate) struct Gauged<'g, T> {
    inner: T,
    gauge: &'g Gauge<'g>,
    /// Whether what it reads is part of a tree.
    is_tree: bool,
    /// Whether it is the name of a member, which may be a number in a string.
    is_key: bool,
    /// How much an access has given.
    count: usize,
}

impl<'g, T> Gauged<'g, T> {
    pub(super) fn new(inner: T, gauge: &'g Gauge<'g>) -> Self {
        Gauged {
            inner,
            gauge,
            is_tree: false,
            is_key: false,
            count: 0,
        }
    }

    /// The same around what reads the same value.
    fn on_the_same<U>(&self, inner: U, is_tree: bool) -> Gauged<'g, U> {
        Gauged {
            is_key: self.is_key,
            ..self.around(inner, is_tree)
        }
    }

    /// The same around something else.
    fn around<U>(&self, inner: U, is_tree: bool) -> Gauged<'g, U> {
        Gauged {
            inner,
            gauge: self.gauge,
            is_tree,
            is_key: false,
            count: 0,
        }
    }
}

/// What JSON describes by itself (`true`) is asked for as anything, unless it is a name: asked for as it is, serde_json itself would make the error, with
/// the whole value in it.
macro_rules! deserialize {
    ($by_itself:literal: $($method:ident($($name:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Slip> {
            let visitor = self.on_the_same(visitor, self.is_tree);
            let read = match $by_itself && !self.is_key {
                true => self.inner.deserialize_any(visitor),
                false => self.inner.$method($($name,)* visitor),
            };
            read.map_err(Slip::of)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Gauged<'_, D> {
    type Error = Slip;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Slip> {
        let visitor = self.on_the_same(visitor, true);
        self.inner.deserialize_any(visitor).map_err(Slip::of)
    }

    deserialize! { true:
        deserialize_bool() deserialize_f32() deserialize_f64()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map() deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Slip> {
        // A type that asks for a raw value gets the text, which is no tree.
        if name == RAW_VALUE {
            let read = self.inner.deserialize_newtype_struct(name, visitor);
            return read.map_err(Slip::of);
        }
        let visitor = self.on_the_same(visitor, self.is_tree);
        let read = self.inner.deserialize_newtype_struct(name, visitor);
        read.map_err(Slip::of)
    }

    deserialize! { false:
        deserialize_char() deserialize_i128() deserialize_u128()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }
}

macro_rules! visit {
    ($($method:ident($($value:ident: $type:ty)?))*) => {$(
        fn $method<E: de::Error>(self $(, $value: $type)?) -> Result<V::Value, E> {
            self.inner.$method::<Slip>($($value)?).map_err(E::custom)
        }
    )*};
}

macro_rules! visit_text {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method<E: de::Error>(self, text: $type) -> Result<V::Value, E> {
            if self.is_key && text == RAW_VALUE {
                return Err(E::custom(format!("no member can have the name `{RAW_VALUE}`")));
            }
            if self.is_tree {
                self.gauge.string(&text).map_err(E::custom)?;
            }
            self.inner.$method::<Slip>(text).map_err(E::custom)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Gauged<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_unit() visit_none() visit_bool(is: bool) visit_char(char: char)
        visit_f32(number: f32) visit_f64(number: f64) visit_i64(number: i64) visit_u64(number: u64)
        visit_i128(number: i128) visit_u128(number: u128)
        visit_bytes(bytes: &[u8]) visit_borrowed_bytes(bytes: &'de [u8])
    }

    visit_text! { visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.around(inner, false);
        self.inner.visit_some(inner).map_err(de::Error::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.around(inner, false);
        self.inner
            .visit_newtype_struct(inner)
            .map_err(de::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        let items = self.around(items, self.is_tree);
        self.inner.visit_seq(items).map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        let members = self.around(members, self.is_tree);
        self.inner.visit_map(members).map_err(de::Error::custom)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        let data = self.around(data, false);
        self.inner.visit_enum(data).map_err(de::Error::custom)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Gauged<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let inner = self.on_the_same(inner, self.is_tree);
        self.inner.deserialize(inner).map_err(de::Error::custom)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Gauged<'_, A> {
    type Error = Slip;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Slip> {
        let seed = self.around(seed, false);
        let item = self.inner.next_element_seed(seed).map_err(Slip::of)?;
        if self.is_tree && item.is_some() {
            self.gauge.item(self.count)?;
            self.count += 1;
        }
        Ok(item)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Gauged<'_, A> {
    type Error = Slip;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Slip> {
        // A name is asked for as text, and is part of the tree all the same.
        let mut seed = self.around(seed, self.is_tree);
        seed.is_key = true;
        let key = self.inner.next_key_seed(seed).map_err(Slip::of)?;
        if self.is_tree && key.is_some() {
            self.gauge.member(self.count)?;
            self.count += 1;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Slip> {
        let seed = self.around(seed, false);
        self.inner.next_value_seed(seed).map_err(Slip::of)
    }
}

impl<'de, 'g, A: EnumAccess<'de>> EnumAccess<'de> for Gauged<'g, A> {
    type Error = Slip;
    type Variant = Gauged<'g, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Slip> {
        let around = self.around((), false);
        let seed = around.around(seed, false);
        let (name, data) = self.inner.variant_seed(seed).map_err(Slip::of)?;
        Ok((name, around.around(data, false)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Gauged<'_, A> {
    type Error = Slip;

    fn unit_variant(self) -> Result<(), Slip> {
        self.inner.unit_variant().map_err(Slip::of)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Slip> {
        let seed = self.around(seed, false);
        self.inner.newtype_variant_seed(seed).map_err(Slip::of)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Slip> {
        let visitor = self.around(visitor, false);
        self.inner.tuple_variant(len, visitor).map_err(Slip::of)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Slip> {
        let visitor = self.around(visitor, false);
        self.inner.struct_variant(fields, visitor).map_err(Slip::of)
    }
}
