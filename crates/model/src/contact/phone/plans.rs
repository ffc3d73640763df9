//! The numbering plans of all countries: which numbers a country code can stand before, and how
//! people in a region write the numbers of that region.
//!
//! Guarantee: the digits of an international number are never changed, and a number in national
//! form is read by the rules of libphonenumber. `plans.tsv` comes from its metadata
//! (`scripts/numbering_plans`).

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use regex::{Regex, RegexBuilder};

/// The metadata, a plan a line.
const TABLE: &str = include_str!("plans.tsv");

/// Digits that a number may have at most, the country code included (ITU-T E.164).
const E164_MAX_DIGITS: usize = 15;

/// Digits that a country code has at most.
const CODE_MAX_DIGITS: usize = 3;

/// The country code of the North American Numbering Plan.
pub(super) const NANP: &str = "1";

/// The prefix that most countries dial for abroad.
const ABROAD: &str = "00";

/// The prefix that the North American plan dials for abroad.
const NANP_ABROAD: &str = "011";

/// The country code of Italy, whose landlines keep their 0 abroad and whose mobiles have none.
const ITALY: &str = "39";

/// Digits of an Italian mobile that begins with 3. Landlines behind 03 are shorter.
const ITALY_MOBILE_DIGITS: usize = 10;

static PLANS: LazyLock<Plans> = LazyLock::new(|| Plans::read(TABLE));

/// A number that a country's plan has room for.
pub(super) struct Number {
    pub(super) code: &'static str,
    /// The digits behind the country code.
    pub(super) national: String,
}

/// True when there are numbers of this region (ISO 3166, two letters).
pub(crate) fn has_region(region: &str) -> bool {
    PLANS.of_region(region).is_some()
}

/// True when `region`, or `otherwise` when that has no plan, is of the North American plan.
pub(super) fn is_nanp_region(region: &str, otherwise: &str) -> bool {
    let plan = PLANS
        .of_region(region)
        .or_else(|| PLANS.of_region(otherwise));
    plan.is_some_and(|plan| plan.code == NANP)
}

/// The number that `digits` are behind a plus. `zero_at` is the place of a zero that stood alone in
/// brackets. No country code begins with 0, so a prefix that is dialled for abroad is left out.
///
/// # Errors
/// In words, when there is no such number.
pub(super) fn international(digits: &str, zero_at: Option<usize>) -> Result<Number, String> {
    let (digits, zero_at) = [ABROAD, NANP_ABROAD]
        .iter()
        .find_map(|prefix| behind(prefix, digits, zero_at))
        .unwrap_or((digits, zero_at));
    let plan = PLANS.of_international(digits).ok_or_else(|| {
        let start = digits.get(..CODE_MAX_DIGITS).unwrap_or(digits);
        format!("no country has the code that +{start} begins with")
    })?;
    let national = digits.get(plan.code.len()..).unwrap_or_default();
    if zero_at == Some(plan.code.len()) && !plan.keeps_zero(national) {
        return plan.number(national.get(1..).unwrap_or_default());
    }
    plan.number(national)
}

/// The digits behind `prefix`, and the place among them of the zero in brackets.
fn behind<'a>(
    prefix: &str,
    digits: &'a str,
    zero_at: Option<usize>,
) -> Option<(&'a str, Option<usize>)> {
    let rest = digits.strip_prefix(prefix)?;
    let zero_at = zero_at.and_then(|at| at.checked_sub(prefix.len()));
    Some((rest, zero_at))
}

/// The number that `digits` are when they are dialled in `region`. A region without a plan reads as
/// `otherwise`. `zero_at` is as in [`international`].
///
/// # Errors
/// In words, when there is no such number.
pub(super) fn national(
    digits: &str,
    zero_at: Option<usize>,
    region: &str,
    otherwise: &str,
) -> Result<Number, String> {
    let plan = PLANS
        .of_region(region)
        .or_else(|| PLANS.of_region(otherwise))
        .ok_or_else(|| "no region reads it".to_owned())?;
    let from_plan = plan
        .abroad(digits)
        .and_then(|prefix| behind(prefix, digits, zero_at));
    let from_zeros = behind(ABROAD, digits, zero_at);
    match (from_zeros, from_plan) {
        // 00 comes first: a region's own prefix can end within the country code, as Colombia's 005
        // does in 00 57.
        (Some((abroad, at)), Some((other, other_at))) if !abroad.starts_with(plan.code) => {
            international(abroad, at).or_else(|why| international(other, other_at).or(Err(why)))
        }
        (Some((abroad, at)), _) | (None, Some((abroad, at))) => international(abroad, at),
        (None, None) => plan.at_home(digits),
    }
}

/// All plans.
struct Plans {
    all: Vec<Plan>,
    by_region: HashMap<&'static str, usize>,
    /// Of the regions that share a code, the main one.
    by_code: HashMap<&'static str, usize>,
}

/// The numbers of one region.
struct Plan {
    code: &'static str,
    /// How long a number without the country code may be.
    lengths: Lengths,
    /// Lengths that only numbers without their area code have.
    local_lengths: Lengths,
    /// The prefix that is dialled before a country code.
    abroad: Pattern,
    /// The prefix that is dialled before a number of the same country.
    prefix: Pattern,
    /// The prefix and what is put in its place, when that is not nothing.
    rewrite: Option<String>,
    /// The form of every number.
    form: Pattern,
}

/// A set of lengths.
#[derive(Clone, Copy)]
struct Lengths(u32);

impl Lengths {
    fn read(cell: &str) -> Self {
        let lengths = cell.split(',').filter_map(|one| one.parse::<u32>().ok());
        Self(lengths.fold(0, |set, one| set | 1_u32.checked_shl(one).unwrap_or(0)))
    }

    fn has(self, length: usize) -> bool {
        let bit = u32::try_from(length)
            .ok()
            .and_then(|length| 1_u32.checked_shl(length));
        bit.is_some_and(|bit| self.0 & bit != 0)
    }

    fn most(self) -> usize {
        self.0.checked_ilog2().map_or(0, |most| most as usize)
    }

    /// `7, 9 or 10`.
    fn shown(self) -> String {
        let mut all: Vec<String> = (0..u32::BITS as usize)
            .filter(|length| self.has(*length))
            .map(|length| length.to_string())
            .collect();
        let last = all.pop().unwrap_or_default();
        if all.is_empty() {
            return last;
        }
        format!("{} or {last}", all.join(", "))
    }
}

/// A regular expression that is compiled when it is first needed: most regions never are.
struct Pattern {
    text: &'static str,
    start: OnceLock<Option<Regex>>,
    whole: OnceLock<Option<Regex>>,
}

impl Pattern {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            start: OnceLock::new(),
            whole: OnceLock::new(),
        }
    }

    fn compiled<'a>(&self, cell: &'a OnceLock<Option<Regex>>, end: &str) -> Option<&'a Regex> {
        if self.text.is_empty() {
            return None;
        }
        cell.get_or_init(|| {
            let anchored = format!("^(?:{}){end}", self.text);
            RegexBuilder::new(&anchored).unicode(false).build().ok()
        })
        .as_ref()
    }

    /// Matches at the start of a text.
    fn at_start(&self) -> Option<&Regex> {
        self.compiled(&self.start, "")
    }

    /// True when all of `digits` has this form.
    fn is_whole(&self, digits: &str) -> bool {
        self.compiled(&self.whole, "$")
            .is_some_and(|whole| whole.is_match(digits))
    }
}

impl Plans {
    fn read(table: &'static str) -> Self {
        let mut plans = Self {
            all: Vec::new(),
            by_region: HashMap::new(),
            by_code: HashMap::new(),
        };
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&'static str> = line.split('\t').collect();
            let [
                region,
                code,
                lengths,
                local_lengths,
                abroad,
                prefix,
                rewrite,
                form,
            ] = cells[..]
            else {
                continue;
            };
            let place = plans.all.len();
            plans.by_region.entry(region).or_insert(place);
            plans.by_code.entry(code).or_insert(place);
            plans.all.push(Plan {
                code,
                lengths: Lengths::read(lengths),
                local_lengths: Lengths::read(local_lengths),
                abroad: Pattern::new(abroad),
                prefix: Pattern::new(prefix),
                // From `9\1` to `9${1}`.
                rewrite: (!rewrite.is_empty()).then(|| braced(rewrite)),
                form: Pattern::new(form),
            });
        }
        plans
    }

    fn of_region(&self, region: &str) -> Option<&Plan> {
        // Numbers of no country are under a region that is none.
        let is_region = region.len() == 2;
        self.all
            .get(*self.by_region.get(region).filter(|_| is_region)?)
    }

    /// The main plan of the country code that `digits` begin with. No code begins with another.
    fn of_international(&self, digits: &str) -> Option<&Plan> {
        (1..=CODE_MAX_DIGITS).find_map(|length| {
            let place = self.by_code.get(digits.get(..length)?)?;
            self.all.get(*place)
        })
    }
}

/// The groups of a replacement in braces: the digits behind them are not part of their name.
fn braced(rewrite: &str) -> String {
    let mut out = String::new();
    let mut chars = rewrite.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(["${", &chars.next().into_iter().collect::<String>(), "}"]),
            c => out.push(c),
        }
    }
    out
}

impl Plan {
    /// The number with these digits behind the country code.
    fn number(&self, national: &str) -> Result<Number, String> {
        let code = self.code;
        let digits = code.len() + national.len();
        if digits > E164_MAX_DIGITS {
            return Err(format!(
                "it has {digits} digits, and a phone number has at most {E164_MAX_DIGITS} with its country code"
            ));
        }
        if code == NANP {
            if !is_nanp(national) {
                return Err(
                    "a number of the US and its neighbours has ten digits behind +1, and neither the first nor the fourth of them is 0 or 1"
                        .to_owned(),
                );
            }
        } else if !self.lengths.has(national.len()) {
            let hint = match national.strip_prefix('0') {
                Some(rest) if self.lengths.has(rest.len()) => {
                    format!(
                        ". The 0 behind +{code} is dialled within the country only: leave it out"
                    )
                }
                _ => String::new(),
            };
            return Err(format!(
                "a number under +{code} has {} digits behind that, and this one has {}{hint}",
                self.lengths.shown(),
                national.len()
            ));
        }
        Ok(Number {
            code,
            national: national.to_owned(),
        })
    }

    /// The prefix that `digits` begin with and that is dialled for abroad. A country code begins
    /// with no zero.
    fn abroad<'a>(&self, digits: &'a str) -> Option<&'a str> {
        let prefix = self.abroad.at_start()?.find(digits)?;
        let rest = digits.get(prefix.end()..)?;
        (!rest.is_empty() && !rest.starts_with('0')).then_some(prefix.as_str())
    }

    /// True when the zero that begins these digits, alone in brackets, is part of the number. As a
    /// rule it is dialled at home only: `+44 (0)20 ...`.
    fn keeps_zero(&self, national: &str) -> bool {
        let is_italian_mobile = self.code == ITALY
            && national.starts_with("03")
            && national.len() == 1 + ITALY_MOBILE_DIGITS;
        self.form.is_whole(national) && !is_italian_mobile
    }

    /// The number of the same country that `digits` are.
    fn at_home(&self, digits: &str) -> Result<Number, String> {
        let with_code = digits
            .strip_prefix(self.code)
            .map(|rest| self.without_prefix(rest).unwrap_or_else(|| rest.to_owned()))
            .filter(|rest| {
                digits.len() > self.lengths.most()
                    || (!self.form.is_whole(digits) && self.form.is_whole(rest))
            });
        let given = with_code.unwrap_or_else(|| digits.to_owned());
        let stripped = self
            .without_prefix(&given)
            .filter(|rest| self.is_long_enough(rest.len()));
        let national = stripped.unwrap_or(given);
        // Regions that share a code call each other as at home.
        let main = PLANS.of_international(self.code).unwrap_or(self);
        let has_form =
            self.code == NANP || self.form.is_whole(&national) || main.form.is_whole(&national);
        let number = main.number(&national)?;
        if !has_form {
            return Err(format!("no number under +{} begins like this", self.code));
        }
        Ok(number)
    }

    /// A number with this many digits has its area code.
    fn is_long_enough(&self, length: usize) -> bool {
        !self.local_lengths.has(length)
            && (self.lengths.has(length) || length > self.lengths.most())
    }

    /// A number of the same country without the prefix that is dialled there, carrier codes
    /// included;
    /// `None` when it has none, or when it is a number only with it.
    fn without_prefix(&self, digits: &str) -> Option<String> {
        let found = self.prefix.at_start()?.captures(digits)?;
        let last_group = found.len() - 1;
        let rest = match &self.rewrite {
            Some(rewrite) if last_group > 0 && found.get(last_group).is_some() => {
                let mut rest = String::new();
                found.expand(rewrite, &mut rest);
                rest.push_str(digits.get(found.get(0)?.end()..)?);
                rest
            }
            _ => digits.get(found.get(0)?.end()..)?.to_owned(),
        };
        (!self.form.is_whole(digits) || self.form.is_whole(&rest)).then_some(rest)
    }
}

/// True when ten digits have the form of the North American plan (NXX NXX XXXX). Neither the area
/// codes in service today nor the exchange 555, which is kept for films, matter: a lead is worth
/// more.
pub(super) fn is_nanp(national: &str) -> bool {
    let digits = national.as_bytes();
    digits.len() == 10 && (b'2'..=b'9').contains(&digits[0]) && (b'2'..=b'9').contains(&digits[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_plan_whose_expressions_compile() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(PLANS.all.len(), lines);
        assert!(lines > 240, "{lines}");
        for plan in &PLANS.all {
            for pattern in [&plan.abroad, &plan.prefix, &plan.form] {
                assert_eq!(pattern.at_start().is_none(), pattern.text.is_empty());
                pattern.is_whole("");
            }
            assert!(plan.lengths.most() > 0, "{}", plan.code);
        }
        for code in PLANS.by_code.keys() {
            let longer = PLANS.by_code.keys().filter(|one| one.starts_with(code));
            assert_eq!(longer.count(), 1, "a country code begins with {code}");
        }
    }

    #[test]
    fn lengths_are_told_in_words() {
        assert_eq!(Lengths::read("7,9,10").shown(), "7, 9 or 10");
        assert_eq!(Lengths::read("10").shown(), "10");
        assert_eq!(Lengths::read("10").most(), 10);
        assert!(!Lengths::read("").has(0));
    }
}
