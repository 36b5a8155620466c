/** Predicts the highest temperature of a day in Seattle or New York from its morning: 2,922 days, four years. */
import {
  canary,
  category,
  complete,
  csv,
  defineModel,
  number,
  percent,
  python,
  quantity,
  random,
  rowCount,
} from '../../../models/define.ts'

export const temperature = defineModel({
  name: 'temperature',
  about:
    'The highest temperature of a day, from its lowest and the weather (Seattle and New York, 2012 to 2015).',
  features: {
    location: category(['Seattle', 'New York']),
    month: number({ min: 1, max: 12 }),
    lowest: number({ unit: '°C', min: -30, max: 35 }),
    precipitation: number({ unit: 'mm', min: 0, max: 200 }),
    wind: number({ unit: 'm/s', min: 0, max: 40, missing: 'fill' }),
  },
  label: quantity({ column: 'temp_max', unit: '°C' }),
  source: csv('node_modules/vega-datasets/data/weather.csv', {
    rows: `select *, month(cast(date as date)) as month, temp_min as lowest from source`,
    key: ['location', 'date'],
  }),
  expect: [rowCount({ min: 2_000 }), complete(['location', 'lowest', 'precipitation'])],
  split: random({ test: 0.25 }),
  hyperparameters: { rounds: 200, depth: 4, learningRate: 0.08 },
  train: python('train.py', { requirements: 'requirements.txt', limit: '10 min' }),
  evaluation: { primary: 'mae', floors: { mae: 3 }, evidence: { rows: 300 }, calibration: 'off' },
  release: canary({
    stages: [percent(10), percent(50)],
    soak: '10 min',
    approval: { by: 1, within: '2 d' },
  }),
})
