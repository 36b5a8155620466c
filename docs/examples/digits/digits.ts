/** Reads a handwritten digit from an image, with a support vector machine of scikit-learn, which a Python process serves. */
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

export const digits = defineModel({
  name: 'digits',
  about: 'The digit on an image, of which the model looks at 8 × 8 pixels.',
  features: { scan: image({ maxBytes: 20_000 }) },
  label: oneOf(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], { column: 'digit' }),
  source: csv('models/digits.csv', { key: ['id'] }),
  expect: [rowCount({ min: 1_500 })],
  split: stratified({ test: 0.25 }),
  hyperparameters: { strength: 10 },
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
