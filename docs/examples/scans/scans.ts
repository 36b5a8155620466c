/** Reads a handwritten digit from a PNG of 8 × 8 pixels, with a network of scikit-learn that its script has made a graph of ONNX. */
import {
  canary,
  csv,
  defineModel,
  image,
  oneOf,
  percent,
  python,
  rowCount,
  stratified,
} from '../../../models/define.ts'

export const scans = defineModel({
  name: 'scans',
  about: 'The digit on a PNG of 8 × 8 pixels of grey, which the replica decodes.',
  features: { scan: image({ maxBytes: 20_000 }) },
  label: oneOf(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], { column: 'digit' }),
  source: csv('models/digits.csv', { key: ['id'] }),
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
