"""The profiles agree with the rules."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SLURM = (ROOT / "slurm/config.yaml").read_text()
RULES = {
    match[1]: match[0]
    for path in (ROOT / "workflow/rules").glob("*.smk")
    for match in re.finditer(
        r"^ *rule (\w+):\n(?:.*\n)*?(?=\S|\Z| *rule )", path.read_text() + "\n", flags=re.MULTILINE
    )
}


def test_every_rule_with_a_gpu_has_its_place_for_the_partition():
    with_gpu = {name for name, text in RULES.items() if re.search(r"^ +gpu=", text, flags=re.MULTILINE)}
    assert with_gpu == set(re.findall(r"^  (?:# )?(\w+):$", SLURM, flags=re.MULTILINE))


def test_rules_say_what_a_job_needs_or_are_local():
    for name, text in RULES.items():
        local = "localrule: True" in text
        assert local != ("runtime=" in text), name
        assert local or "mem_mb=" in text, name
        assert "retries:" not in text, f"{name}: the Snakemake within a job would take them too"


def test_resources_stand_in_no_profile_that_every_run_loads():
    always = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert not {key for key in always if "resources" in key or "threads" in key}
