"""The paper's own stack: Keras with its EfficientNet. A script for a Python that has TensorFlow and not this package.

Asked for by workers.py; it imports nothing but TensorFlow and NumPy.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    if asked["threads"]:
        tf.config.threading.set_intra_op_parallelism_threads(asked["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(asked["threads"])
    if asked["precision"] == "bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    side, count = asked["image_size"], asked["batch_size"]
    network = getattr(tf.keras.applications, asked["model"])(
        weights=None, input_shape=(side, side, 3), classes=asked["class_count"]
    )
    network.compile(optimizer=tf.keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    images = tf.constant(generator.integers(0, 256, (count, side, side, 3)).astype("float32"))
    labels = tf.constant(generator.integers(asked["class_count"], size=count))
    network.train_on_batch(images, labels)  # builds the graph
    print(json.dumps({"tensorflow": tf.__version__, "keras": tf.keras.__version__}), flush=True)
    for _ in sys.stdin:
        for _ in range(asked["steps"]):  # not `fit`, whose start and end cost up to a second
            network.train_on_batch(images, labels)
        print("{}", flush=True)


if __name__ == "__main__":
    main()
