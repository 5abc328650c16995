"""Request examples of the vendors and schemas of their answers, for the OpenAPI documents."""

from ..http.schemas import object_of

PHOTO = "https://upload.wikimedia.org/wikipedia/commons/d/d7/Official_portrait_of_Barack_Obama.jpg"
QOLABA_EXAMPLES: dict[str, dict[str, object]] = {
    "face_consistency": {
        "app_id": "ap-SwsTOsD7STxJ0obCkskUHw",
        "image": PHOTO,
        "prompt": "portrait photo of a person hiking in the mountains at sunrise",
        "batch": 1,
        "height": 1024,
        "width": 1024,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "negative_prompt": "blurry, low quality",
        "strength": 0.8,
        "celery": True,
        "inference_type": "a10g",
    },
    "face_avatar": {
        "app_id": "ap-jL9u1wFpY5sRv2XmN3aQ44",
        "image": PHOTO,
        "prompt": None,
        "batch": 1,
        "height": 1024,
        "width": 1024,
        "celery": True,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "negative_prompt": "",
        "gender": "male",
        "remove_background": True,
        "bg_color": "#FFFFFF",
    },
    "status": {"id": "8c3ef6ea-1c44-4d69-91cb-fc11971a65d1", "refID": ""},
}
MODELSLAB_EXAMPLES: dict[str, dict[str, object]] = {
    "make_gen": {
        "key": "",
        "prompt": "pretty woman",
        "negative_prompt": "anime, cartoon, drawing, big nose, long nose, fat, ugly, big lips, big mouth, "
        "face proportion mismatch, unrealistic, monochrome, lowres, bad anatomy, worst quality, low quality, blurry",
        "face_image": PHOTO,
        "width": "512",
        "height": "512",
        "samples": "1",
        "num_inference_steps": "21",
        "safety_checker": False,
        "s_scale": 1.0,
        "seed": 1234,
        "safety_checker_type": "blur",
        "base64": False,
        "guidance_scale": 7.5,
        "webhook": None,
        "track_id": None,
    },
    "fetch": {"key": ""},
    "update_s3": {
        "key": "",
        "deploy_type": "face_gen",
        "public_url": "https://pictures.example.com",
        "region_name": "us-east-1",
        "endpoint_url": "https://s3.us-east-1.amazonaws.com/my-bucket",
        "aws_access_key_id": "",
        "aws_secret_access_key": "",
        "image_directory": "face_gen",
    },
    "reset_s3": {"key": "", "deploy_type": "face_gen"},
}
SEGMIND_EXAMPLE: dict[str, object] = {
    "prompt": "((masterpiece, best quality, highly detailed)), simple background, character sheet, multiple poses, "
    "multiple actions, visible face, (one person), portrait, full body, young african american girl, white sweater, "
    "jeans, short curly brown hair, 2D illustration style",
    "negative_prompt": "text, watermark, underexposed, ugly, jpeg",
    "image": "https://segmind-sd-models.s3.amazonaws.com/display_images/testing_imgs/ref.pose.png",
    "num_inference_steps": 20,
    "guidance_scale": 7,
    "seed": 4898558797,
    "samples": 1,
    "strength": 0.8,
    "scheduler": "karras",
    "sampler": "dpmpp_2m",
    "upscale_by": 2,
    "upscale_steps": 20,
    "upscale_guidance_scale": 7,
    "upscale_scheduler": "karras",
    "upscale_sampler": "dpmpp_2m",
    "upscale_mode_type": "Linear",
    "fd_steps": 20,
    "fd_guidance_scale": 7,
    "fd_scheduler": "karras",
    "fd_sampler": "dpmpp_2m",
}

MODELSLAB_ANSWER = object_of(status={"enum": ["success", "processing"]})
MODELSLAB_ERROR = object_of(status={"const": "error"}, message={"type": "string"})
SEGMIND_ERROR = object_of(error={"type": "string"})
JPEG_OR_JSON = {
    "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {"schema": object_of(image={"type": "string"}, images={"type": "array"})},
}
