/** Refuses files of known formats that are not read as data, with what to do instead. A pickle runs code when it is read. */
import { refuse } from '../errors.ts'

const pickle =
  'a pickle, which runs code when it is read: register it with its packages (--requirements requirements.txt), or save the model as text, JSON or ONNX'

/**
 * Begins a pickle of the protocols 0 and 1, which do not start with a number: an object of a class, or a list or dictionary. The rest of a
 * line tells it from a text.
 */
const textPickle = /^(?:\(?c[\w.]+\n[\w.]+\n(?:p\d+\n|q\0|\()|\([ld]p0\n|[\]}]q\0)/

/** Formats that run code when they are read, or that only their library reads, with their first bytes. */
const foreign: readonly [heads: string[], what: string][] = [
  [['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05', 'ccopy_reg', 'ccopyreg'], pickle],
  [
    ['TENURE-PYTHON'],
    'code of Python with the packages of another training: train the model by a script, or register what the script has saved with its requirements',
  ],
  [
    ['PK'],
    'a zip archive of PyTorch or Keras: export the model as ONNX, or register a folder with it and a serve.py that loads it; unpack an archive of a folder, as of MLflow, and register the folder',
  ],
  [['\x89HDF'], 'an HDF5 file: export the model as TensorFlow.js layers or ONNX'],
  [
    // gzip, bzip2, zstd, xz, LZMA, LZ4, and zlib as joblib writes it.
    [
      '\x1f\x8b',
      'BZh',
      '\x28\xb5\x2f\xfd',
      '\xfd7zXZ',
      '\x5d\x00\x00',
      '\x04\x22\x4d\x18',
      '\x78\x01',
      '\x78\x5e',
      '\x78\x9c',
      '\x78\xda',
    ],
    'compressed: unpack it, or register a file of joblib with its packages (--requirements requirements.txt)',
  ],
  [['binf', 'bs64'], "in XGBoost's old binary format: save the model as .json or .ubj"],
  [['version https://git-lfs'], 'a pointer of Git LFS: fetch the file itself (git lfs pull)'],
  [['<!DOCTYPE', '<!doctype', '<html'], 'a web page: download the file itself'],
  [['<?xml', '<PMML'], 'XML: export the model as ONNX in place of PMML'],
  [['\xef\xbb\xbf', '\xff\xfe', '\xfe\xff'], 'a text with a byte order mark: save it as UTF-8 without one'],
  [['booster[', '[\n  { "nodeid"'], 'a dump of XGBoost: save the model with save_model'],
  [
    ['{"name": "tree"', '{"name":"tree"', '{\n  "name": "tree"', '{\n    "name": "tree"'],
    'a dump of LightGBM: save the model with save_model',
  ],
  [
    ['CBM1'],
    "in CatBoost's binary format: save the model with format='json', or, with categories, by job.save_catboost(model) of a training script",
  ],
  [
    ['\x08\x01\x12'],
    'a SavedModel of TensorFlow: export the model as ONNX (tf2onnx) or TensorFlow.js layers',
  ],
]
/** The length of the header in eight bytes, and the beginning of its JSON. */
const safetensors = /^[^]{4}\0{4}\{"/

/** Returns the first bytes as a text with a character for each. */
export const headOf = (bytes: Uint8Array, most = 64): string =>
  String.fromCharCode(...bytes.subarray(0, most))

/** Throws `artifact_invalid`, with the name of the format, for a known format that is not supported. */
export function refuseForeign(bytes: Uint8Array, head: string): void {
  if (bytes.byteLength === 0) refuse('the file is empty')
  if (
    head.startsWith('PK') &&
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes('schema.json')
  )
    refuse(
      'the file is one of skops: register a folder with it and a serve.py that loads it (skops.io.load), with its packages (--requirements requirements.txt)',
    )
  const found = foreign.find(([heads]) => heads.some((each) => head.startsWith(each)))
  if (found !== undefined) refuse(`the file is ${found[1]}`)
  if (safetensors.test(head)) refuse('the file has weights alone (safetensors): export the model as ONNX')
  if (bytes.at(-1) === '.'.charCodeAt(0) && textPickle.test(headOf(bytes, 300)))
    refuse(`the file is ${pickle}`)
}
