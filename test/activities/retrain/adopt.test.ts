import { expect, it } from 'vitest'
import { packageOf } from '../../../activities/retrain/adopt.ts'

it.each([
  ['LightGBM', 'LightGBM', 'unknown'],
  ['XGBoost 3.4.0', 'XGBoost', '3.4.0'],
  ['ONNX of skl2onnx 1.20.0', 'skl2onnx', '1.20.0'],
  ['ONNX of OnnxMLTools v1.14', 'OnnxMLTools', '1.14'],
  ['ONNX of my exporter', 'my exporter', 'unknown'],
  ['ONNX', 'ONNX', 'unknown'],
])('a file of %s names its package and version', (library, name, version) =>
  expect(packageOf(library)).toEqual({ [name]: version }),
)
