from knarr.controllers.nodeipam import Ranges


def test_each_range_is_given_once_until_it_comes_back() -> None:
    ranges = Ranges("10.0.0.0/22")
    found = []
    while (cidr := ranges.find()) is not None:
        ranges.take(cidr)
        found.append(cidr)
    assert found == ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"]
    ranges.give_back("10.0.1.0/24")
    assert ranges.find() == "10.0.1.0/24"


def test_a_range_that_two_nodes_claim_stays_taken_when_one_goes() -> None:
    ranges = Ranges("10.0.0.0/24")
    ranges.take("10.0.0.0/24")
    ranges.take("10.0.0.0/24")
    ranges.give_back("10.0.0.0/24")
    assert ranges.find() is None


def test_ranges_of_other_networks_do_not_matter() -> None:
    ranges = Ranges("10.0.0.0/23")
    ranges.take("192.168.0.0/24")
    assert ranges.find() == "10.0.0.0/24"
