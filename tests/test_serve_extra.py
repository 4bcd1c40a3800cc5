"""Serving is an extra: nothing else needs it, and who lacks it is told what to install."""

from __future__ import annotations

import pytest

from tests.support.engine import run_python

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "starlette", "pydantic")


def test_nothing_else_imports_what_serves() -> None:
    done = run_python(
        f"""
        import rewardshift, rewardshift.decoder, rewardshift.serve, rewardshift.cli.app
        print([name for name in {NEEDED!r} if name in sys.modules])
        """
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "prometheus_client"])
def test_who_lacks_the_extra_is_told_what_to_install(missing: str) -> None:
    done = run_python(
        f"""
        sys.modules[{missing!r}] = None
        import rewardshift.serve
        try:
            rewardshift.serve.build_app
        except rewardshift.Error as error:
            print(error)
        """
    )
    assert done.stdout == (
        f"serving needs {missing}, which is not installed: pip install 'rewardshift[serve]'\n"
    )
    done = run_python(
        f"""
        sys.modules[{missing!r}] = None
        sys.argv = ["rewardshift", "serve", "-m", "none.gguf"]
        from rewardshift.cli import main
        main()
        """
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'rewardshift[serve]'" in done.stderr
