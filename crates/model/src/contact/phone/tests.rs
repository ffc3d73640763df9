use proptest::prelude::*;

use super::*;

fn read(text: &str, region: &str) -> String {
    match Phone::parse(text, region) {
        Ok(phone) => match phone.extension() {
            Some(extension) => format!("{} x{extension}", phone.as_str()),
            None => phone.as_str().to_owned(),
        },
        Err(Refusal::Invalid(_)) => "invalid".to_owned(),
        Err(Refusal::Placeholder(_)) => "placeholder".to_owned(),
    }
}

fn check(text: &str, expect: &str) {
    assert_eq!(read(text, DEFAULT_REGION), expect, "{text:?}");
}

fn check_in(region: &str, text: &str, expect: &str) {
    assert_eq!(read(text, region), expect, "{text:?} in {region}");
}

#[test]
fn us_numbers() {
    check("2067119384", "+12067119384");
    check(" 415 248 1889 ", "+14152481889");
    check("(512) 408-0271", "+15124080271");
    check("646.817.5160", "+16468175160");
    check("1-617-230-7601", "+16172307601");
    check("+1 (312) 751-7519", "+13127517519");
    check("+12065550155", "+12065550155");
    check("+1 (0) 206 555 0155", "+12065550155");
    check("011 44 20 7946 0958", "+442079460958");
    check("0044 20 7946 0958", "+442079460958");
    check("442079460958", "invalid");
    check("", "invalid");
    check("call me", "invalid");
    check("555-0155", "invalid");
    check("+1 555-0155", "invalid");
    check("123456789012345678", "invalid");
    check("1067119384", "invalid");
    check("+11067119384", "invalid");
    check("206+7119384", "invalid");
    check("20671193841", "invalid");
}

#[test]
fn fillers() {
    check("0000000000", "placeholder");
    check("(555) 555-5555", "placeholder");
    check("1 111 111 1111", "placeholder");
    check("+1 222 222 2222", "placeholder");
    check("123-456-7890", "placeholder");
    check("555-555-5555 x1", "placeholder");
    check("+44 0000000000", "placeholder");
    check_in("GB", "0000000000", "placeholder");
    check_in("CA", "123-456-7890", "placeholder");
    // Runs that people have as numbers.
    check_in("FR", "01 23 45 67 89", "+33123456789");
    check_in("MY", "012-345 6789", "+60123456789");
}

/// The digits of an international number are never changed, whatever the community's region is.
#[test]
fn international_numbers_keep_their_digits() {
    for region in ["US", "GB", "CN", "DE", "IT", "AR", "RU", "AQ"] {
        for (text, expect) in [
            ("+86 131 2345 6789", "+8613123456789"),
            ("+49 172 1547608", "+491721547608"),
            ("+880 1812-345678", "+8801812345678"),
            ("+82 10-1234-5678", "+821012345678"),
            ("+33 1 42 68 53 00", "+33142685300"),
            ("+44 121 496 0000", "+441214960000"),
            ("+55 11 91234-5678", "+5511912345678"),
            ("+44 20 7946 0958", "+442079460958"),
            ("+52 55 1234 5678", "+525512345678"),
            ("+39 06 6982 1234", "+390669821234"),
            ("+39 347 123 4567", "+393471234567"),
            ("+225 07 12 34 56 78", "+2250712345678"),
            ("+54 9 11 1234-5678", "+5491112345678"),
            ("+7 800 555-35-35", "+78005553535"),
            ("+800 1234 5678", "+80012345678"),
            ("+12065550155", "+12065550155"),
            ("+999 1234 5678", "invalid"),
            ("+0 206 555 0155", "invalid"),
            ("+44 2079", "invalid"),
            ("+44 020 7946 0958", "invalid"),
            ("+49 1234 5678 9012 345", "invalid"),
            ("+", "invalid"),
            ("+44", "invalid"),
        ] {
            check_in(region, text, expect);
        }
    }
}

#[test]
fn a_region_reads_its_own_numbers() {
    check_in("GB", "020 7946 0958", "+442079460958");
    check_in("GB", "20 7946 0958", "+442079460958");
    check_in("GB", "44 20 7946 0958", "+442079460958");
    check_in("GB", "(0)20 7946 0958", "+442079460958");
    check_in("GB", "00 1 206 555 0155", "+12065550155");
    check_in("GB", "7946 0958", "invalid");
    check_in("GG", "020 7946 0958", "+442079460958");
    check_in("IT", "06 6982 1234", "+390669821234");
    check_in("DE", "0172 1547608", "+491721547608");
    check_in("CN", "131 2345 6789", "+8613123456789");
    check_in("RU", "8 (495) 123-45-67", "+74951234567");
    check_in("AR", "011 15-1234-5678", "+5491112345678");
    check_in("BR", "0 15 11 91234-5678", "+5511912345678");
    check_in("AG", "460-1234", "+12684601234");
    check_in("CA", "416 555 0155", "+14165550155");
    check_in("AU", "206 555 0155", "invalid");
    check_in("ZZ", "206 555 0155", "+12065550155");
    check_in("001", "206 555 0155", "+12065550155");
}

#[test]
fn numbers_as_people_write_them() {
    for text in [
        "+1 206 555 0155",
        "(+1) 206 555 0155",
        "++1 206 555 0155",
        "+ 1 206 555 0155",
        "+(1) 206 555 0155",
        "+1 [206] 555-0155",
        "[206] 555-0155",
        "tel:+1-206-555-0155",
        "tel:2065550155",
        "Tel.: (206) 555-0155",
        "206\u{2010}555\u{2011}0155",
        "206\u{2012}555\u{2013}0155",
        "206\u{2014}555\u{2015}0155",
        "206\u{2212}555\u{ff0d}0155",
        "206\u{a0}555\u{202f}0155",
        "206\u{2009}555\u{3000}0155",
        "206\t555\n0155",
        "206\u{b7}555\u{2022}0155",
        "\u{ff08}206\u{ff09}555\u{ff0d}0155",
        "\u{ff0b}\u{ff11} 206 555 0155",
        "\u{ff12}\u{ff10}\u{ff16}\u{ff15}\u{ff15}\u{ff15}\u{ff10}\u{ff11}\u{ff15}\u{ff15}",
        "\u{662}\u{660}\u{666} 555 0155",
        "\u{202a}+1 206 555 0155\u{202c}",
        "\u{2066}206-555-0155\u{2069}",
        "\u{200e}206\u{200b}5550155\u{feff}",
        "206\u{ad}555\u{2060}0155",
    ] {
        check(text, "+12065550155");
    }
    check("+44 (0)20 7946 0958", "+442079460958");
    check("+44(0)2079460958", "+442079460958");
    check("+44 [0] 20 7946 0958", "+442079460958");
    check("(+44) (0)20 7946 0958", "+442079460958");
    check("0044 20 7946 0958", "+442079460958");
    check("+49 (0) 172 1547608", "+491721547608");
    // Italy keeps its zero.
    check("+39 (0)6 6982 1234", "+390669821234");
    check("+39 (0)35 123456", "+39035123456");
    // Its mobiles have none.
    check("+39 (0)333 1234567", "+393331234567");
    check("0039 (0)333 1234567", "+393331234567");
    check("206-555-0155 x123", "+12065550155 x123");
    check("(206) 555-0155 ext. 136", "+12065550155 x136");
    check("tel:+1-206-555-0155;ext=136", "+12065550155 x136");
    check("206 555 0155 #6", "+12065550155 x6");
    check("+44 (0)20 7946 0958 x0123", "+442079460958 x0123");
    check_in("GB", "020 7946 0958 ext 4", "+442079460958 x4");
}

#[test]
fn a_prefix_for_abroad_is_a_plus() {
    for region in ["US", "GB", "JP", "ID", "CO", "IT", "RU", "AU", "KR", "ZZ"] {
        for text in [
            "0044 (0)20 7946 0958",
            "0044 (0) 20 7946 0958",
            "0044 20 7946 0958",
            "+011 44 20 7946 0958",
            "+011 44 (0)20 7946 0958",
            "+0044 20 7946 0958",
        ] {
            check_in(region, text, "+442079460958");
        }
        check_in(region, "00 81 3-1234-5678", "+81312345678");
        check_in(region, "00 62 812-345-678", "+62812345678");
        check_in(region, "00 57 321 1234567", "+573211234567");
        check_in(region, "00 57 321 12345", "+5732112345");
        check_in(region, "00 57 321", "invalid");
        check_in(region, "00 81 3", "invalid");
        check_in(region, "000 123 4567", "invalid");
        check_in(region, "+00", "invalid");
    }
    check("011 44 (0)20 7946 0958", "+442079460958");
    check_in("JP", "010 44 (0)20 7946 0958", "+442079460958");
    // Where the prefix is another that begins with 00.
    check_in("AU", "0011 44 (0)20 7946 0958", "+442079460958");
    check_in("HK", "001 44 20 7946 0958", "+442079460958");
}

#[test]
fn an_extension_given_beside_the_number_is_the_one_in_it() {
    let check = |number: &str, extension: &str, expect: Option<&str>| {
        let phone = Phone::parse(number, DEFAULT_REGION).unwrap();
        let got = phone.with_extension(extension).ok();
        assert_eq!(
            got.as_ref().and_then(Phone::extension),
            expect,
            "{number} {extension}"
        );
    };
    check("2065550155", "136", Some("136"));
    check("2065550155 x136", "ext. 136", Some("136"));
    check("2065550155 x136", " ", Some("136"));
    check("2065550155 x136", "137", None);
    check("2065550155", "front desk", None);
}

#[test]
fn a_stored_number_stays_the_one_that_the_vendor_knows() {
    let stored = |text: &str| Phone::stored(text).map(|phone| phone.as_str().to_owned());
    assert_eq!(stored("+863123456789").as_deref(), Some("+863123456789"));
    assert_eq!(stored("+443").as_deref(), None);
    assert_eq!(stored("+44300000").as_deref(), Some("+44300000"));
    assert_eq!(stored("(206) 555-0155").as_deref(), Some("+12065550155"));
    assert_eq!(stored("+10000000000").as_deref(), None);
    assert_eq!(stored("n/a").as_deref(), None);
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let why = |text: &str| match Phone::parse(text, DEFAULT_REGION) {
        Err(Refusal::Invalid(why) | Refusal::Placeholder(why)) => why,
        Ok(phone) => panic!("{text} is {}", phone.as_str()),
    };
    for (text, said) in [
        ("", "it is empty"),
        ("+999 123", "no country has the code that +999 begins with"),
        ("+44 020 7946 0958", "leave it out"),
        (
            "+44 2079",
            "7, 9 or 10 digits behind that, and this one has 4",
        ),
        ("+49 1234567890123456", "at most 15"),
        ("+1 106 711 9384", "ten digits behind +1"),
        (
            "1-800-FLOWERS",
            "letters may stand in it only before an extension",
        ),
        ("206-555-0155 ext. desk", "an extension is made of digits"),
        ("206*555*0155", "'*' does not belong"),
        ("206:555:0155", "':' does not belong"),
        ("206-555-0155;ext=5;ext=6", "it has two extensions"),
    ] {
        assert!(why(text).contains(said), "{text}: {}", why(text));
    }
}

/// The long way, of a number that the common case would take.
fn long_way(text: &str) -> Option<String> {
    let written = Written::read(text).ok()?;
    let digits = &*written.digits;
    let number = if written.is_international {
        international(digits, written.zero_at)
    } else {
        national(digits, written.zero_at, DEFAULT_REGION, DEFAULT_REGION)
    };
    let number = number.ok()?;
    Some(format!("+{}{}", number.code, number.national))
}

proptest! {
    #[test]
    fn the_common_case_agrees_with_the_long_way(
        area in "[0-9]{3}", exchange in "[0-9]{3}", line in "[0-9]{4}", head in "\\+?1?[ (]?", gap in "[-. /)]{0,2}"
    ) {
        let text = format!("{head}{area}{gap}{exchange}-{line}");
        if let Some(phone) = Phone::plain_us(&text, DEFAULT_REGION) {
            prop_assert_eq!(Some(phone.e164), long_way(&text));
        } else if let Some(number) = long_way(&text) {
            // Left to the long way: numbers of other countries, and fillers.
            prop_assert!(!number.starts_with("+1") || is_filler(&number[1..], true), "{} is {}", text, number);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = Phone::parse(&text, DEFAULT_REGION);
        let _ = Phone::parse(&text, "AR");
    }

    #[test]
    fn digits_behind_a_plus_are_kept_or_refused(digits in "[1-9][0-9]{0,17}") {
        if let Ok(phone) = Phone::parse(&format!("+{digits}"), "GB") {
            prop_assert_eq!(phone.as_str(), format!("+{digits}"));
        }
    }
}
