def variation_noted(fields, now, letter, job):
    """change_block's change."""
    known = [item(text) for text in fields["VARIATIONS"]]
    found = [one for one in known if one["id"].upper() == letter]
    if fields["ACTIVE_TEST"] == NOTHING or not found:
        labels = ", ".join(one["id"] for one in known) or "none"
        test = fields["ACTIVE_TEST"]
        return f"Not noted: there is no variation {letter[:20]!r}. The test is {test}, its labels: {labels}."
    if found[0].get("job") == job:
        return answer({"label": letter, "job_id": job, "note": "This was noted before."})
    before = found[0].get("job", "")
    found[0]["job"] = job
    fields["VARIATIONS"] = [item_text(one) for one in known]
    if letter in ("A", "B"):
        fields[f"VARIATION_{letter}_ID"] = job
    missing = [one["id"] for one in known if "job" not in one]
    return answer({"label": letter, "job_id": job, "instead_of": before, "without_a_job": missing})


def note_variation(label: str, job_id: str) -> str:
    """
    Remember which job renders a variation of the A/B test that runs.

    Args:
        label (str): The variation's label, such as A.
        job_id (str): The job's id as submit_video returned it.

    Returns:
        str: JSON with both, and the labels that have no job yet; or a sentence that says what is wrong.
    """
    job = id_of(job_id).lower()
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job):
        return f"Not noted: {plain(job_id)[:60]!r} is no id of a job. Give the job_id that submit_video returned."
    told, problem = change_block("ab_testing", variation_noted, id_of(label).upper(), job)
    return f"Not noted. {problem}" if problem else told
