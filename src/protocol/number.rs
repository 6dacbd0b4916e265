//! A JSON number by its digits: what a float would round is told apart, and what is only spelled in another way is not.
//!
//! Pure.

/// A number in its canonical form: its digits have no zero in front and none behind. Zero has none, no sign and no exponent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) is_negative: bool,
    pub(crate) digits: String,
    /// Zeros that stand behind the digits; below 0, how many of the digits stand behind the point.
    pub(crate) exponent: i64,
}

impl Decimal {
    /// Reads a JSON number. `None` for any other text, and for an exponent beyond 64 bits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let number = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = whole == "0" || !(whole.is_empty() || whole.starts_with('0'));
        if !is_whole || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let exponent: i64 = exponent.parse().ok()?;
        let all = [whole, fraction].concat();
        let significant = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - significant.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let digits = significant.trim_start_matches('0').to_owned();
        let is_zero = digits.is_empty();
        Some(Decimal {
            is_negative: !is_zero && number.len() < text.len(),
            digits,
            exponent: match is_zero {
                true => 0,
                false => exponent.checked_add(zeros)?.checked_sub(places)?,
            },
        })
    }

    /// The integer that it is, if it is one and fits.
    pub(crate) fn integer(&self) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let power = 10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        let value = self.digits.parse::<i128>().ok()?.checked_mul(power)?;
        Some(if self.is_negative { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn integer(text: &str) -> Option<i128> {
        Decimal::read(text)?.integer()
    }

    #[test]
    fn a_number_is_an_integer_however_it_is_written() {
        let rows = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.000", Some(0)),
            ("0e5", Some(0)),
            ("0e-5", Some(0)),
            ("-7", Some(-7)),
            ("120", Some(120)),
            ("1.2e2", Some(120)),
            ("1.2E+2", Some(120)),
            ("12000e-2", Some(120)),
            ("0.0012e5", Some(120)),
            ("1e15", Some(1_000_000_000_000_000)),
            ("18446744073709551616", Some(1 << 64)),
            ("1e38", Some(10_i128.pow(38))),
            ("1e39", None),
            ("1e-1", None),
            ("1e-2147483648", None),
            ("1e2147483647", None),
            ("0.1", None),
            ("12.50e1", Some(125)),
        ];
        for (text, expected) in rows {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn only_json_numbers_are_read() {
        let malformed = [
            "",
            " 1",
            "1 ",
            "+1",
            "01",
            "-",
            "1.",
            ".5",
            "0x1",
            "1e",
            "1_0",
            "- 1",
            "NaN",
            "true",
            "\"1\"",
            "[1]",
            "1,2",
            "１",
            "1e99999999999999999999",
        ];
        for text in malformed {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }

    #[test]
    fn spellings_are_the_same_and_digits_are_not() {
        let read = |text| Decimal::read(text).expect("the row is a number");
        for (left, right) in [
            ("1", "1.0"),
            ("1200", "1.2E3"),
            ("0.5", "5e-1"),
            ("-0.0", "0"),
        ] {
            assert_eq!(read(left), read(right), "{left} and {right}");
        }
        for (left, right) in [
            ("20000000000000000000", "20000000000000001023"),
            ("1.00000000000000000001", "1"),
            ("9007199254740992", "9007199254740993"),
            ("-1", "1"),
            ("1", "10"),
        ] {
            assert_ne!(read(left), read(right), "{left} and {right}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_is_read_exactly(value in any::<i64>(), zeros in 0_usize..18) {
            let expected = Some(i128::from(value));
            prop_assert_eq!(integer(&value.to_string()), expected);
            prop_assert_eq!(integer(&format!("{value}.{}", "0".repeat(zeros + 1))), expected);
            prop_assert_eq!(integer(&format!("{value}{}e-{zeros}", "0".repeat(zeros))), expected);
        }

        #[test]
        fn reads_what_a_parser_reads(text in "-?[0-9]{1,4}(\\.[0-9]{0,4})?([eE][-+]?[0-9]{0,2})?|.{0,4}") {
            let is_number = serde_json::from_str::<&serde_json::value::RawValue>(&text)
                .is_ok_and(|raw| raw.get() == text && text.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
            prop_assert_eq!(Decimal::read(&text).is_some(), is_number, "{}", text);
        }
    }
}
