def picked(fields, now, letter, pattern):
    """change_block's change: the choice is kept, and the test is over."""
    if fields["ACTIVE_TEST"] == NOTHING:
        last = item(fields["USER_SELECTIONS"][-1]) if fields["USER_SELECTIONS"] else {"id": ""}
        if last["id"] == letter and last.get("pattern", "").casefold() == (pattern or last["text"]).casefold():
            return {"winner": letter, "test": last.get("test", ""), "note": "This was recorded before."}
        return {"problem": "No test is running. Begin one with start_ab_test."}
    known = [item(text) for text in fields["VARIATIONS"]]
    found = [one for one in known if one["id"].upper() == letter]
    if not found:
        labels = ", ".join(one["id"] for one in known)
        return {"problem": f"The test has no variation {letter[:20]!r}. Its labels are {labels}."}
    test, won = fields["ACTIVE_TEST"], pattern or found[0]["text"]
    chosen = found[0] | {"id": letter, "test": test, "pattern": won, "at": now}
    fields["USER_SELECTIONS"] = [*fields["USER_SELECTIONS"], item_text(chosen)][-20:]
    with_pattern(fields, now, "WINNING_PATTERNS", won)
    told = {"winner": letter, "test": test, "pattern": won, "variations": fields["VARIATIONS"], "at": now}
    fields |= {"ACTIVE_TEST": NOTHING, "VARIATIONS": []}
    fields |= {"VARIATION_A_ID": NOTHING, "VARIATION_B_ID": NOTHING}
    return told


def pick_winner(label: str, pattern: str) -> str:
    """
    Record which variation of the A/B test the user chose, and what made it win. The test is over then.

    Args:
        label (str): The label of the chosen variation, such as B.
        pattern (str): What made it win, in one sentence, for later prompts.

    Returns:
        str: JSON with the winner; or a sentence that says what is wrong.
    """
    letter = id_of(label).upper()
    said = "" if left_out(pattern) else plain(pattern).replace("|", "/")[:200]
    told, problem = change_block("ab_testing", picked, letter, said)
    problem = problem or told.pop("problem", "")
    if problem:
        return f"Nothing was recorded. {problem}"
    if "at" in told:
        lines = [f"Chosen: {letter}, because: {told['pattern']}", "Variations:", *told["variations"]]
        about = f"A/B test at {told.pop('at')}: {told['test']}"
        told["not_archived"] = archive(about, "\n".join(lines), ["ab-test", f"winner-{letter.lower()}"])
    return answer(told)
