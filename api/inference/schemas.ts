/** Describes the Open Inference Protocol as JSON schemas for the API description. Requests are validated in code instead. */
import { z } from 'zod'
import { datatypeNames } from './tensors.ts'

const text = { type: 'string' }
const texts = { type: 'array', items: text }
const shape = { type: 'array', items: { type: 'integer', minimum: 0 } }
const anyObject = { type: 'object', additionalProperties: true }
/** Numbers, booleans or texts; nested lists for a shape with more dimensions. */
const elements = { items: {} }

const object = (required: string[], properties: Record<string, object>) => ({
  type: 'object',
  required,
  properties,
})
const objectOrNull = (properties: Record<string, object>) => ({ type: ['object', 'null'], properties })

/** The fields of a tensor in metadata; -1 stands for the number of rows. */
const tensorFields = {
  name: text,
  datatype: { enum: datatypeNames },
  shape: { type: 'array', items: { type: 'integer', minimum: -1 } },
}
const callerTexts = {
  routing_key: { type: 'string', minLength: 1, maxLength: 256 },
  reference: { type: 'string', minLength: 1, maxLength: 200 },
}

const tensorKeys = ['name', 'datatype', 'shape']
const tensors = { type: 'array', items: object(tensorKeys, tensorFields) }

const inputTensor = object(['name', 'shape', 'datatype'], {
  name: { type: 'string', minLength: 1 },
  shape,
  datatype: { enum: datatypeNames },
  data: { type: ['array', 'null'], ...elements, description: 'Row by row, or as lists in lists.' },
  parameters: objectOrNull({ binary_data_size: { type: 'integer', minimum: 0 } }),
})

export const inferSchema = object(['inputs'], {
  id: { type: ['string', 'null'], maxLength: 1_000, description: 'Given back with the answer.' },
  parameters: objectOrNull({
    ...callerTexts,
    binary_data_output: { type: 'boolean', description: 'All outputs behind the JSON.' },
  }),
  inputs: { type: 'array', minItems: 1, items: inputTensor },
  outputs: {
    type: ['array', 'null'],
    items: object(['name'], { name: text, parameters: objectOrNull({ binary_data: { type: 'boolean' } }) }),
  },
})

export const inferredSchema = object(['model_name', 'model_version', 'parameters', 'outputs'], {
  model_name: text,
  model_version: text,
  id: text,
  parameters: object(['arm', 'generation', 'prediction_id'], {
    arm: text,
    generation: { type: 'integer' },
    prediction_id: { type: 'string', format: 'uuid' },
    fallback: { type: 'boolean' },
    stale: { type: 'boolean' },
    unknown_categories: {
      type: 'string',
      description: 'JSON: texts that training has not seen, by feature.',
    },
  }),
  outputs: {
    type: 'array',
    items: object(tensorKeys, {
      ...tensorFields,
      shape,
      data: { type: 'array', ...elements },
      parameters: anyObject,
    }),
  },
})

export const serverSchema = object(['name', 'version', 'extensions'], {
  name: text,
  version: text,
  extensions: texts,
})

export const modelSchema = object(['name', 'versions', 'platform', 'inputs', 'outputs'], {
  name: text,
  versions: texts,
  platform: text,
  inputs: tensors,
  outputs: tensors,
  parameters: anyObject,
})

export const repositoryQuery = z.strictObject({
  ready: z.boolean().optional().describe('Only versions that are ready.'),
})

export const repositorySchema = {
  type: 'array',
  items: object(['name', 'version', 'state', 'reason'], {
    name: text,
    version: text,
    state: { type: 'string', enum: ['READY', 'UNAVAILABLE'] },
    reason: text,
  }),
}

/** An object with the features, or a list in the order of the model file. */
const row = { anyOf: [anyObject, { type: 'array', ...elements }] }
const rows = { type: 'array', minItems: 1, items: row }

export const kserveSchema = {
  ...object(['instances'], { instances: rows, ...callerTexts }),
  additionalProperties: false,
}

/** Exactly one of the four formats. */
export const mlflowSchema = {
  ...object([], {
    dataframe_split: object(['data'], {
      columns: texts,
      index: { type: 'array', ...elements },
      data: { type: 'array', minItems: 1, items: { type: 'array', ...elements } },
    }),
    dataframe_records: rows,
    instances: rows,
    inputs: {
      anyOf: [rows, { type: 'object', additionalProperties: { type: 'array', ...elements } }],
    },
    params: object([], callerTexts),
  }),
  additionalProperties: false,
}

export const plainPredictedSchema = object(
  ['predictions', 'model_name', 'model_version', 'arm', 'generation', 'prediction_ids'],
  {
    predictions: {
      type: 'array',
      description:
        'One for each row: a probability, a number, the label of a class, or a list: quantiles by rising level, or several numbers in the order of the label.',
      items: { anyOf: [{ type: 'number' }, text, { type: 'array', items: { type: 'number' } }] },
    },
    model_name: text,
    model_version: text,
    arm: text,
    generation: { type: 'integer' },
    fallback: { type: 'boolean' },
    prediction_ids: { type: 'array', items: { type: 'string', format: 'uuid' } },
    unknown_categories: { type: 'object', additionalProperties: texts },
    stale: { type: 'boolean' },
    defaulted: { type: 'array', items: anyObject },
  },
)
