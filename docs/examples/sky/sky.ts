/** Predicts the weather of a day, one of five classes, with a scikit-learn pipeline that takes the raw columns, including texts. */
import {
  canary,
  category,
  complete,
  csv,
  defineModel,
  number,
  oneOf,
  percent,
  python,
  rowCount,
  stratified,
} from '../../../models/define.ts'

export const sky = defineModel({
  name: 'sky',
  about:
    'Drizzle, fog, rain, snow or sun, from the measures of the day (Seattle and New York, 2012 to 2015).',
  features: {
    location: category(['Seattle', 'New York']),
    month: number({ min: 1, max: 12 }),
    lowest: number({ unit: '°C', min: -30, max: 35 }),
    highest: number({ unit: '°C', min: -30, max: 50 }),
    precipitation: number({ unit: 'mm', min: 0, max: 200 }),
    wind: number({ unit: 'm/s', min: 0, max: 40 }),
  },
  label: oneOf(['drizzle', 'fog', 'rain', 'snow', 'sun'], { column: 'weather' }),
  source: csv('node_modules/vega-datasets/data/weather.csv', {
    rows: `select *, month(cast(date as date)) as month, temp_min as lowest, temp_max as highest from source`,
    key: ['location', 'date'],
  }),
  expect: [rowCount({ min: 2_000 }), complete('all')],
  split: stratified({ test: 0.25 }),
  hyperparameters: { smoothing: 1 },
  train: python('train.py', { requirements: 'requirements.txt', limit: '10 min' }),
  evaluation: {
    primary: 'accuracy',
    floors: { accuracy: 0.6 },
    evidence: { rows: 300, positives: 5, negatives: 5 },
    calibration: 'off',
  },
  release: canary({
    stages: [percent(10), percent(50)],
    soak: '10 min',
    approval: { by: 1, within: '2 d' },
  }),
})
