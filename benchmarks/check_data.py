"""The data that the figures of docs/results.md rest on: where each file comes from, and whether a folder has the same.

    python benchmarks/check_data.py FOLDER

Licences differ, so none of them is part of the repository. A checksum is SHA-256 of the content: unpacked where the file
is gzipped, of names, types, shapes and values where it holds arrays. The exit status is 1 if a file is missing or differs.

Files that were made from others:

fsdd_audio_8khz.npz    all 3,000 recordings (int16), concatenated in the order of speaker, digit and index: audio, offsets, label,
                       speaker, index
fsdd_mfcc13.npz        13 coefficients every 10 ms (`mfcc` of examples/temporal_classification.py), float16: mfcc, offsets, and the
                       same labels
yesno_mfcc13.npz       the same of 60 recordings of 8 words each: mfcc, offsets, labels (0 no, 1 yes)
*.tsv.gz               word TAB tag, an empty line after every sentence; ranges of multi-word tokens and empty nodes are left out
"""

import argparse
import gzip
import hashlib
import pathlib
import sys

import numpy as np

FILES = (
    ("tiny_shakespeare/input.txt", "karpathy/char-rnn @ 6f9487a6, data/tinyshakespeare/input.txt",
     "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
    ("beijing_pm25/pollution.csv.gz", "jbrownlee/Datasets @ d20fcb64, pollution.csv, gzipped; from UCI, Beijing PM2.5",
     "892e9559205d16d32623135c127a3951c12e46ea1e0b3093e107ce89a9fd60e2"),
    ("ett/ETTh1.csv.gz", "zhouhaoyi/ETDataset @ 1d16c8f4, ETT-small/ETTh1.csv, gzipped",
     "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
    ("ett/ETTh2.csv.gz", "zhouhaoyi/ETDataset @ 1d16c8f4, ETT-small/ETTh2.csv, gzipped",
     "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
    ("classic_series/airline_passengers.csv", "sktime 1.2.0, its data sets",
     "28af0eb869db6d9fbd31d5af03993a0cbf36c0857c3eb046a068c094b60da851"),
    ("classic_series/sunspots_yearly.csv", "statsmodels 0.15.0, its data sets",
     "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b"),
    ("classic_series/sunspots_monthly.csv", "jbrownlee/Datasets @ d20fcb64",
     "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"),
    ("classic_series/lynx.csv", "sktime 1.2.0, its data sets",
     "aa531751f1570541924e78c53fa9ef56422c9593a89faeb01513bba7b2015c77"),
    ("classic_series/co2_mauna_loa_weekly.csv", "statsmodels 0.15.0, its data sets",
     "16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f"),
    ("classic_series/nile.csv", "statsmodels 0.15.0, its data sets",
     "88e97bea7249e5832a85e41aec6ce4b8f7b1b14aae930c8363da7f193286b598"),
    ("classic_series/elnino_sst.csv", "statsmodels 0.15.0, its data sets",
     "b647be00e0fd264be9764e317e6b963f35030014ecca2b21b204521716e463ad"),
    ("classic_series/daily_min_temperatures_melbourne.csv", "jbrownlee/Datasets @ d20fcb64",
     "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"),
    ("japanese_vowels/JapaneseVowels_TRAIN.ts.gz", "sktime 1.2.0, its data sets, gzipped",
     "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
    ("japanese_vowels/JapaneseVowels_TEST.ts.gz", "sktime 1.2.0, its data sets, gzipped",
     "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
    ("fsdd/fsdd_audio_8khz.npz", "Jakobovski/free-spoken-digit-dataset @ 26eb9aaf",
     "763a4a65efcb615827698e6a22d1b0537f404c566b0d9b7b1296962fa82e3ded"),
    ("fsdd/fsdd_mfcc13.npz", "Jakobovski/free-spoken-digit-dataset @ 26eb9aaf",
     "90441d9b059789c42165a388c2a7e8c53c4e1f74e4ef593dd182defb693d6e8b"),
    ("yesno/yesno_mfcc13.npz", "keighrim/kaldi-yesno-tutorial @ f4e2910d, waves_yesno/",
     "c0c844fe62afc51f59346a45761f149869adbcd2059101442f815fdd3319c09f"),
    ("ud_english_ewt/train.tsv.gz", "UniversalDependencies/UD_English-EWT @ 15d613d8 (2.16), FORM and UPOS",
     "f66337dc7c394a1f497ddce9714c77f2bb296eb3721e01ed313d5a40eb5db6c9"),
    ("ud_english_ewt/dev.tsv.gz", "UniversalDependencies/UD_English-EWT @ 15d613d8 (2.16), FORM and UPOS",
     "ac7b79f3411079d8dca268d824ce4b36e25c9ba839ccd64067024d2ac18fba8d"),
    ("ud_english_ewt/test.tsv.gz", "UniversalDependencies/UD_English-EWT @ 15d613d8 (2.16), FORM and UPOS",
     "ead3f5bc8fe6026fa56cebf36b682bf79b165ff19762ad2bed0120039f6033ad"),
    ("protein_qian_sejnowski/protein-secondary-structure.train", "UCI, Molecular Biology (Protein Secondary Structure)",
     "0c7f0b6645d9a9271cd913a1b911e8ab95d1cd1b4017e5871b23a2dcb2f43bfb"),
    ("protein_qian_sejnowski/protein-secondary-structure.test", "UCI, Molecular Biology (Protein Secondary Structure)",
     "2d24a7c9b4ff4e0216b6633ccd1446a0b8aa14d1515beede7ccfbf4887b3dfe6"),
    ("cmudict/cmudict.dict.gz", "cmusphinx/cmudict @ 0f8072f8, cmudict.dict, gzipped",
     "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"),
)  # fmt: skip


def checksum(path: pathlib.Path) -> str:
    """Return the SHA-256 of what a file holds."""
    found = hashlib.sha256()
    if path.suffix == ".npz":
        with np.load(path) as file:
            for name in sorted(file.files):
                array = np.ascontiguousarray(file[name])
                found.update(f"{name} {array.dtype.str} {array.shape}".encode())
                found.update(array.tobytes())
    elif path.suffix == ".gz":
        with gzip.open(path) as file:
            found.update(file.read())
    else:
        found.update(path.read_bytes())
    return found.hexdigest()


def main(arguments=None) -> int:
    """Say of every file whether it is there and the same; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args(arguments).folder
    wrong = 0
    for name, source, expected in FILES:
        path = folder / name
        state = "missing" if not path.exists() else "same" if checksum(path) == expected else "DIFFERS"
        wrong += state != "same"
        print(f"{state:8} {name}" + ("" if state == "same" else f"   from {source}; sha256 {expected}"))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
