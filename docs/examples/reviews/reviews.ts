/** Predicts whether a short text is positive, with TF-IDF and a logistic regression of scikit-learn, which a Python process serves. */
import {
  canary,
  csv,
  defineModel,
  percent,
  python,
  random,
  rowCount,
  text,
  yesNo,
} from '../../../models/define.ts'

export const reviews = defineModel({
  name: 'reviews',
  about: 'Whether a snippet of a film review or of a product review is positive.',
  features: { review: text({ maxLength: 2_000 }) },
  label: yesNo({ column: 'positive', positive: 'positive' }),
  source: csv('models/reviews.csv', {
    rows: `select * from source where kind in ('movie', 'product')`,
    key: ['id'],
  }),
  expect: [rowCount({ min: 5_000 })],
  split: random({ test: 0.25 }),
  hyperparameters: { strength: 4 },
  train: python('train.py', { requirements: 'requirements.txt', limit: '10 min' }),
  evaluation: { primary: 'auc', floors: { auc: 0.8 }, calibration: 'off' },
  release: canary({
    stages: [percent(10), percent(50)],
    soak: '10 min',
    approval: { by: 1, within: '2 d' },
  }),
})
