/** Reads a handwritten digit from 64 pixels, with a network of scikit-learn that its script has made a graph of ONNX. */
import {
  canary,
  defineModel,
  oneOf,
  parquet,
  percent,
  python,
  rowCount,
  stratified,
  vector,
} from '../../../models/define.ts'

export const pixels = defineModel({
  name: 'pixels',
  about: 'The digit on an image of 8 × 8 pixels, which the sender has scaled to 0 to 1.',
  features: { scan: vector(64) },
  label: oneOf(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], { column: 'digit' }),
  source: parquet('models/pixels.parquet', { key: ['id'] }),
  expect: [rowCount({ min: 1_500 })],
  split: stratified({ test: 0.25 }),
  hyperparameters: { units: 64 },
  train: python('train.py', { requirements: 'requirements.txt', limit: '10 min' }),
  evaluation: {
    primary: 'accuracy',
    floors: { accuracy: 0.9 },
    evidence: { rows: 300, positives: 5, negatives: 5 },
    calibration: 'off',
  },
  release: canary({
    stages: [percent(10), percent(50)],
    soak: '10 min',
    approval: { by: 1, within: '2 d' },
  }),
})
