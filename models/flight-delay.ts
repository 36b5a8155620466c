/**
 * Predicts whether a flight arrives at least 15 minutes late, from 3,000,000 US flights of January to June 2001.
 *
 * Limitations: the source has neither scheduled times nor durations. `date` seems to be the actual departure, so a late flight may have
 * a later hour than scheduled. The time at which a delay became known is an estimate: half an hour plus the distance at 450 miles an
 * hour, plus the delay. The model is an example of decay and delayed labels, not a product for passengers.
 */
import {
  between,
  byTime,
  canary,
  category,
  complete,
  defineModel,
  distinct,
  fresh,
  labelAfterEvent,
  number,
  parquet,
  percent,
  positiveRate,
  rowCount,
  unique,
  warn,
  yesNo,
} from './define.ts'
import { airports } from './data/airports.ts'

const hours = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, '0'))
const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']

export const flightDelay = defineModel({
  name: 'flight-delay',
  about: 'Whether a US flight of early 2001 arrives at least 15 minutes late.',
  features: {
    origin: category({ values: airports, about: 'IATA code' }),
    destination: category({ values: airports, about: 'IATA code' }),
    distance: number({ unit: 'mi', min: 20, max: 5000 }),
    hour: category({ values: hours, about: 'local hour of departure' }),
    weekday: category(weekdays),
    recentLateShare: number({
      min: 0,
      max: 1,
      missing: 'fill',
      about:
        'share of late flights from the same airport among those whose delay became known in the last 3 hours',
    }),
  },
  label: yesNo({ column: 'late', positive: 'late', knownAt: 'knownAt', threshold: 0.5 }),
  source: parquet('node_modules/vega-datasets/data/flights-3m.parquet', {
    eventTime: 'departedAt',
    lookback: '2 d',
    key: ['departedAt', 'origin', 'destination', 'distance', 'delay'],
    rows: `
      select
        date as departedAt, origin, destination, distance, delay, delay >= 15 as late,
        date + to_minutes(cast(30 + distance / 7.5 + greatest(delay, 0) as bigint)) as knownAt
      from source`,
    // The number of flights known in a window is the difference of two running totals, each found by an ASOF join.
    derive: `
      with
        learned as (
          select origin, knownAt as moment, count(*) as flights, count(*) filter (late) as late
          from known group by all
        ),
        airport as (
          select origin, moment, sum(flights) over running as flights, sum(late) over running as late
          from learned window running as (partition by origin order by moment)
        ),
        network as (
          select moment, sum(sum(flights)) over running as flights, sum(sum(late)) over running as late
          from learned group by moment window running as (order by moment)
        )
      select
        known.*,
        strftime(departedAt, '%H') as hour,
        lower(strftime(departedAt, '%a')) as weekday,
        (here.late - coalesce(hereBefore.late, 0)) / nullif(here.flights - coalesce(hereBefore.flights, 0), 0)
          as recentLateShare,
        (everywhere.late - coalesce(before.late, 0)) / nullif(everywhere.flights - coalesce(before.flights, 0), 0)
          as networkLateShare
      from known
      asof left join airport as here on known.origin = here.origin and known.departedAt >= here.moment
      asof left join airport as hereBefore
        on known.origin = hereBefore.origin and known.departedAt - interval 3 hours >= hereBefore.moment
      asof left join network as everywhere on known.departedAt >= everywhere.moment
      asof left join network as before on known.departedAt - interval 3 hours >= before.moment`,
  }),
  expect: [
    rowCount({ min: 20_000 }),
    complete('all'),
    fresh('2 d'),
    labelAfterEvent(),
    between('distance', { min: 20, max: 5000 }),
    positiveRate({ min: 0.05, max: 0.5 }),
    distinct('origin', { min: 150 }),
    warn(between('delay', { min: -120, max: 1440, mostly: 0.999 })),
    warn(unique(undefined, { mostly: 0.999 })),
    warn(complete(['recentLateShare'], { mostly: 0.9 })),
  ],
  split: byTime({ train: '21 d', test: '3 d', matured: '12 h', maxRows: { train: 80_000, test: 25_000 } }),
  hyperparameters: { units: 16, epochs: 3, batchSize: 256, learningRate: 0.003 },
  train: async ({ tf, inputs, seed, hyperparameters, fit }) => {
    const { units, epochs, batchSize, learningRate } = hyperparameters
    const kernel = (layer: number) => tf.initializers.glorotUniform({ seed: seed + layer })
    const network = tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [inputs], units, activation: 'relu', kernelInitializer: kernel(0) }),
        tf.layers.dense({ units: 1, activation: 'sigmoid', kernelInitializer: kernel(1) }),
      ],
    })
    network.compile({ optimizer: tf.train.adam(learningRate), loss: 'binaryCrossentropy' })
    await fit(network, { epochs, batchSize })
    return network
  },
  evaluation: {
    primary: 'auc',
    floors: { auc: 0.58 },
    guards: ['brier'],
    // Few flights reach a probability of 0.5, so accuracy hardly measures a slice.
    sliceLimits: { metric: 'auc', points: 0.02 },
    slices: [
      { name: 'morning', where: `hour < '12'` },
      { name: 'evening', where: `hour >= '17'` },
      { name: 'short haul', where: 'distance < 500' },
      { name: 'long haul', where: 'distance >= 1500' },
    ],
  },
  release: canary({
    stages: [percent(1), percent(5), percent(25), percent(50)],
    soak: '10 min',
    requests: 500,
    deadline: '4 h',
    probation: { holdback: 5, soak: '1 h', requests: 2_000, deadline: '1 d' },
    approval: { by: 1, within: '2 d' },
    // The training rows are a sample already, so those of three more days would not make them more.
    refit: 'off',
  }),
  // No schedule: the flights are from 2001, so a retraining as of today would find no rows. The replay starts its own retrainings.
})
