"""The paper's own stack: Keras and its EfficientNet. A script for a Python that has TensorFlow but not this package.

Started by workers.py; it imports only TensorFlow and NumPy.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf


def main() -> None:
    request = json.loads(sys.stdin.readline())
    if request["threads"]:
        tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(request["threads"])
    if request["precision"] == "bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    side, count = request["image_size"], request["batch_size"]
    network = getattr(tf.keras.applications, request["model"])(
        weights=None, input_shape=(side, side, 3), classes=request["class_count"]
    )
    network.compile(optimizer=tf.keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    images = tf.constant(generator.integers(0, 256, (count, side, side, 3)).astype("float32"))
    labels = tf.constant(generator.integers(request["class_count"], size=count))
    network.train_on_batch(images, labels)  # builds the graph
    print(json.dumps({"tensorflow": tf.__version__, "keras": tf.keras.__version__}), flush=True)
    for _ in sys.stdin:
        for _ in range(request["steps"]):  # not `fit`, whose start and end cost up to a second
            network.train_on_batch(images, labels)
        print("{}", flush=True)


if __name__ == "__main__":
    main()
