"""Wrong numbers for the questions: question -> part -> how one gets there -> the number for a student.

The first ones of each leave out a part of the sum, add one that does not belong there, or count in other units.
"""

NUMBERS = {
    "what-lora-changes": {
        "trained": {
            "squared": lambda n: n["r"] ** 2,
            "r out of place": lambda n: n["in_features"] + n["r"] * n["out_features"],
            "doubled": lambda n: 2 * n["r"] * (n["in_features"] + n["out_features"]),
            "halved": lambda n: n["r"] * (n["in_features"] + n["out_features"]) // 2,
            "in bytes": lambda n: 4 * n["r"] * (n["in_features"] + n["out_features"]),
        },
        "saved-megabytes": {
            "less A and B": lambda n: (
                12
                * (n["in_features"] * n["out_features"] - n["r"] * (n["in_features"] + n["out_features"]))
                / 1e6
            ),
            "1024": lambda n: 12 * n["in_features"] * n["out_features"] / 2**20,
            "GB": lambda n: 12 * n["in_features"] * n["out_features"] / 1e9,
            "bits": lambda n: 96 * n["in_features"] * n["out_features"] / 1e6,
        },
    },
    "full-against-lora": {
        "trained": {
            "one matrix": lambda n: n["layers"] * n["r"] * (n["hidden_size"] + n["value_size"]) // 2,
            "key too": lambda n: n["layers"] * n["r"] * (4 * n["hidden_size"] + 2 * n["value_size"]),
            "half of the layers": lambda n: (
                n["layers"] * n["r"] * (3 * n["hidden_size"] + n["value_size"]) // 2
            ),
        },
        "full-gigabytes": {
            "plus the adapter": lambda n: (
                16 * (n["weights"] + n["layers"] * n["r"] * (3 * n["hidden_size"] + n["value_size"])) / 1e9
            ),
            "GiB": lambda n: 16 * n["weights"] / 2**30,
            "MB": lambda n: 16 * n["weights"] / 1e6,
            "20 bytes": lambda n: 20 * n["weights"] / 1e9,
        },
        "lora-gigabytes": {
            "without the adapter": lambda n: 2 * n["weights"] / 1e9,
            "without bookkeeping": lambda n: (
                (2 * n["weights"] + 4 * n["layers"] * n["r"] * (3 * n["hidden_size"] + n["value_size"])) / 1e9
            ),
            "GiB": lambda n: (
                (2 * n["weights"] + 16 * n["layers"] * n["r"] * (3 * n["hidden_size"] + n["value_size"]))
                / 2**30
            ),
            "query alone": lambda n: (2 * n["weights"] + 32 * n["layers"] * n["r"] * n["hidden_size"]) / 1e9,
        },
        "adapter-megabytes": {
            "MiB": lambda n: 4 * n["layers"] * n["r"] * (3 * n["hidden_size"] + n["value_size"]) / 2**20,
            "bits": lambda n: 32 * n["layers"] * n["r"] * (3 * n["hidden_size"] + n["value_size"]) / 1e6,
            "query alone": lambda n: 8 * n["layers"] * n["r"] * n["hidden_size"] / 1e6,
        },
    },
    "quantization-and-qlora": {
        "bits-per-weight": {
            "4.127": lambda n: 4.127,
            "per 16": lambda n: 4 + 32 / 16,
            "in bytes": lambda n: (4 + 32 / n["block_size"]) / 8,
        },
        "base-gigabytes": {
            "GiB": lambda n: n["billions"] * 1e9 * (4 + 32 / n["block_size"]) / 8 / 2**30,
            "scales in bytes": lambda n: n["billions"] * (4 + 4 / n["block_size"]) / 8,
            "twice": lambda n: n["billions"] * (4 + 32 / n["block_size"]) / 4,
        },
        "largest-error": {
            "sixteen gaps": lambda n: n["absmax"] / 16,
            "seven": lambda n: n["absmax"] / 7,
            "a third": lambda n: n["absmax"] / 30,
        },
    },
    "swappable-adapters": {
        "copies-gigabytes": {
            "in MB": lambda n: 1000 * n["tasks"] * n["base_gigabytes"],
            "one more": lambda n: (n["tasks"] + 1) * n["base_gigabytes"],
            "doubled": lambda n: 2 * n["tasks"] * n["base_gigabytes"],
        },
        "shared-gigabytes": {
            "1024": lambda n: n["base_gigabytes"] + n["tasks"] * n["adapter_megabytes"] / 1024,
            "one fewer": lambda n: n["base_gigabytes"] + (n["tasks"] - 1) * n["adapter_megabytes"] / 1000,
            "without adapters": lambda n: n["base_gigabytes"],
            "in MB": lambda n: 1000 * n["base_gigabytes"] + n["tasks"] * n["adapter_megabytes"],
        },
        "as-heavy-as-a-copy": {
            "1024": lambda n: 1024 * n["base_gigabytes"] / n["adapter_megabytes"],
            "by tasks": lambda n: 1000 * n["base_gigabytes"] / n["adapter_megabytes"] / n["tasks"],
            "times tasks": lambda n: 1000 * n["base_gigabytes"] / n["adapter_megabytes"] * n["tasks"],
        },
    },
    "full-or-lora": {
        "break-even-rank": {
            "quarter": lambda n: (
                n["in_features"] * n["out_features"] / (n["in_features"] + n["out_features"]) / 4
            ),
            "the sum": lambda n: n["in_features"] + n["out_features"],
            "root": lambda n: (n["in_features"] * n["out_features"]) ** 0.5,
        },
        "gpus": {
            "not rounded": lambda n: n["billions"] * 16 / 24,
            "one more": lambda n: -(-n["billions"] * 16 // 24) + 1,
            "20 bytes": lambda n: -(-n["billions"] * 20 // 24),
        },
    },
}
