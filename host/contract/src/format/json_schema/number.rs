//! Numbers in their written form, which are never rounded to another value.

/// A number's text, which follows JSON's grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// The text.
    pub text: &'a str,
    /// True if it has neither a fraction nor an exponent.
    pub is_plain: bool,
    /// Its position.
    pub at: usize,
}

/// The number of digits of the largest power of ten that fits 64 bits.
const DIGITS_MAX: i64 = 19;
/// The maximum number of digits of a whole number that is always exact in an `f64`.
const EXACT_DIGITS: usize = 15;

impl Number<'_> {
    /// The number, if it is whole and fits 64 bits: `12`, and also `12.0` and `1.2e1`.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if self.is_plain {
            return self.text.parse().ok();
        }
        let (is_negative, text) = self.text.strip_prefix('-').map_or((false, self.text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        let zeros = digits.len() - significant.len();
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Some(0);
        }
        let exponent = exponent.parse::<i64>().ok()?;
        let power = exponent.checked_sub(fraction.len() as i64)?.checked_add(zeros as i64)?;
        if power < 0 || power.checked_add(significant.len() as i64)? > DIGITS_MAX {
            return None;
        }
        let magnitude = significant.parse::<i128>().ok()? * 10i128.pow(u32::try_from(power).ok()?);
        i64::try_from(if is_negative { -magnitude } else { magnitude }).ok()
    }

    /// The nearest `f64`. `None` for a whole number that no `f64` equals, and for a number that is too large or too
    /// close to zero.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        let value = self.text.parse::<f64>().ok().filter(|value| value.is_finite())?;
        if value == 0.0 {
            let mantissa = self.text.split(['e', 'E']).next().unwrap_or_default();
            return (!mantissa.contains(|digit| ('1'..='9').contains(&digit))).then_some(value);
        }
        let is_exact = !self.is_plain || self.text.len() <= EXACT_DIGITS || format!("{value:.0}") == self.text;
        is_exact.then_some(value)
    }

    /// The number as a JSON value. `None` for a whole number of more than 64 bits.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Number> {
        if self.is_plain {
            let whole = self.text.parse::<i64>().map(serde_json::Number::from);
            // A negative zero differs from zero.
            return match whole {
                Ok(_) if self.text == "-0" => serde_json::Number::from_f64(-0.0),
                Ok(whole) => Some(whole),
                Err(_) => self.text.parse::<u64>().map(serde_json::Number::from).ok(),
            };
        }
        serde_json::Number::from_f64(self.float()?)
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    fn number(text: &str) -> Number<'_> {
        Number { text, is_plain: !text.contains(['.', 'e', 'E']), at: 0 }
    }

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        let whole = |text| number(text).integer();
        assert_eq!(whole("9223372036854775807"), Some(i64::MAX));
        assert_eq!(whole("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("-9223372036854775808.0"), Some(i64::MIN));
        assert_eq!(whole("9007199254740993.000"), Some(9_007_199_254_740_993));
        assert_eq!(whole("1.20e1"), Some(12));
        assert_eq!(whole("1200E-2"), Some(12));
        assert_eq!(whole("0.5"), None);
        assert_eq!(whole("1e18"), Some(1_000_000_000_000_000_000));
        assert_eq!(whole("1e19"), None);
        assert_eq!(whole("-0"), Some(0));
        assert_eq!(whole("0.0e999999999999999999999"), Some(0));
        assert_eq!(whole("1e99999999999999999999"), None);
        assert_eq!(whole("1e-99999999999999999999"), None);
    }

    #[test]
    fn floats_are_near_and_never_something_else() {
        let float = |text| number(text).float();
        assert_eq!(float("0.1"), Some(0.1));
        assert_eq!(float("9007199254740992"), Some(9_007_199_254_740_992.0));
        assert_eq!(float("9007199254740993"), None);
        assert_eq!(float("-9007199254740993"), None);
        assert_eq!(float("100000000000000000000"), Some(1e20));
        assert_eq!(float("1e300"), Some(1e300));
        assert_eq!(float("1e400"), None);
        assert_eq!(float("1e-400"), None);
        assert_eq!(float("0e-400"), Some(0.0));
        assert_eq!(float("-0.0").map(f64::to_bits), Some((-0.0f64).to_bits()));
    }
}
