/** Predicts whether a short text is positive from its embedding, with a logistic regression of scikit-learn, which a Python process serves. */
import {
  canary,
  defineModel,
  parquet,
  percent,
  python,
  random,
  rowCount,
  vector,
  yesNo,
} from '../../../models/define.ts'

export const sentiment = defineModel({
  name: 'sentiment',
  about: 'Whether a review is positive, by the embedding that its sender has computed.',
  features: { embedding: vector(256) },
  label: yesNo({ column: 'positive', positive: 'positive' }),
  source: parquet('models/sentiment.parquet', { key: ['id'] }),
  expect: [rowCount({ min: 5_000 })],
  split: random({ test: 0.25 }),
  hyperparameters: { strength: 1 },
  train: python('train.py', { requirements: 'requirements.txt', limit: '10 min' }),
  evaluation: { primary: 'auc', floors: { auc: 0.75 }, calibration: 'off' },
  release: canary({
    stages: [percent(10), percent(50)],
    soak: '10 min',
    approval: { by: 1, within: '2 d' },
  }),
})
