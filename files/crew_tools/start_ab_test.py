def started(fields, now, concept, texts):
    """change_block's change."""
    running = fields["ACTIVE_TEST"]
    letters = "ABCDEF"[: len(texts)]
    if running != NOTHING:
        same = running.casefold() == concept.casefold() and [item(one)["text"] for one in fields["VARIATIONS"]] == texts
        if not same:
            return {"problem": f"A test is running: {running}. End it with pick_winner; its variations are "
                    f"{'; '.join(fields['VARIATIONS']) or 'none'}."}  # fmt: skip
        return {"test": running, "variations": fields["VARIATIONS"], "note": "It was started before; nothing changed."}
    fields["ACTIVE_TEST"] = concept
    fields["VARIATIONS"] = [item_text({"id": one, "text": text}) for one, text in zip(letters, texts, strict=True)]
    fields["VARIATION_A_ID"] = fields["VARIATION_B_ID"] = NOTHING
    return {"test": concept, "variations": fields["VARIATIONS"]}


def start_ab_test(concept: str, variations: str) -> str:
    """
    Begin an A/B test: several variations of one concept, between which the user chooses. They get the labels A, B, ...
    Render each with submit_video, and note its job with note_variation.

    Args:
        concept (str): What all variations have in common, in one sentence.
        variations (str): One variation a line, 2 to 6: in what it differs from the others.

    Returns:
        str: JSON with the variations and their labels; or a sentence that says what is wrong.
    """
    texts = []
    for one in list_items(variations, "items"):
        text = item(one)["text"].replace("|", "/")
        text = re.sub(r"(?i)^(?:variation\s+)?[A-F]\s*[:.)-]\s+", "", text)
        if text and text.casefold() not in [known.casefold() for known in texts]:
            texts.append(text[:500])
    if left_out(concept) or not 2 <= len(texts) <= 6:
        return "No test was started. Give a concept, and 2 to 6 variations that differ, one a line."
    told, problem = change_block("ab_testing", started, plain(concept)[:300], texts)
    problem = problem or told.get("problem", "")
    return f"No test was started. {problem}" if problem else answer(told)
