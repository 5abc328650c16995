"""Defines Write Avatar Prompt."""

from comfy_api.latest import io

from ..core.avatar_prompt import DEFAULT_PROMPT, avatar_prompt


class WriteAvatarPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConsistentFace_WriteAvatarPrompt",
            display_name="Write Avatar Prompt",
            category="consistent face/avatar",
            description="Gives your prompt or, without one, the avatar's default prompt for a man, a woman or a "
            "person.",
            search_aliases=["default prompt", "gender prompt", "avatar", "prompt template"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    placeholder=DEFAULT_PROMPT,
                    dynamic_prompts=False,  # the front end would unwrap {gender_word} and cut text after //
                    optional=True,
                    tooltip="Empty or 'None': the default prompt. Your own text is used unchanged, and gender has no "
                    "effect on it.",
                ),
                io.String.Input(
                    "gender",
                    default="",
                    dynamic_prompts=False,
                    optional=True,
                    tooltip="For the default prompt: male becomes man, female becomes woman, an empty text becomes "
                    "person; any other text is used unchanged, up to 40 characters.",
                ),
            ],
            outputs=[io.String.Output(display_name="prompt")],
        )

    @classmethod
    def execute(cls, prompt: str | None = None, gender: str | None = None) -> io.NodeOutput:
        return io.NodeOutput(avatar_prompt(prompt, gender))


NODES = [WriteAvatarPrompt]
