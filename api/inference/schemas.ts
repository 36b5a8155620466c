/** Describes the Open Inference Protocol as JSON schemas for the API description. Requests are checked in code. */
import { datatypeNames } from './tensors.ts'

const names = { type: 'string' }
const shape = { type: 'array', items: { type: 'integer', minimum: 0 } }

/** Of a description: -1 stands for the number of rows. */
const tensorKind = {
  type: 'object',
  required: ['name', 'datatype', 'shape'],
  properties: {
    name: names,
    datatype: { enum: datatypeNames },
    shape: { type: 'array', items: { type: 'integer', minimum: -1 } },
  },
}

export const inferSchema = {
  type: 'object',
  required: ['inputs'],
  properties: {
    id: { type: ['string', 'null'], maxLength: 1_000, description: 'Given back with the answer.' },
    parameters: {
      type: ['object', 'null'],
      properties: {
        routing_key: { type: 'string', minLength: 1, maxLength: 256 },
        binary_data_output: { type: 'boolean', description: 'All outputs behind the JSON.' },
      },
    },
    inputs: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        required: ['name', 'shape', 'datatype'],
        properties: {
          name: { type: 'string', minLength: 1 },
          shape,
          datatype: { enum: datatypeNames },
          data: { type: ['array', 'null'], description: 'Row by row, or as lists in lists.' },
          parameters: {
            type: ['object', 'null'],
            properties: { binary_data_size: { type: 'integer', minimum: 0 } },
          },
        },
      },
    },
    outputs: {
      type: ['array', 'null'],
      items: {
        type: 'object',
        required: ['name'],
        properties: {
          name: names,
          parameters: { type: ['object', 'null'], properties: { binary_data: { type: 'boolean' } } },
        },
      },
    },
  },
}

export const inferredSchema = {
  type: 'object',
  required: ['model_name', 'model_version', 'parameters', 'outputs'],
  properties: {
    model_name: names,
    model_version: names,
    id: names,
    parameters: {
      type: 'object',
      required: ['arm', 'generation', 'prediction_id'],
      properties: {
        arm: names,
        generation: { type: 'integer' },
        prediction_id: { type: 'string', format: 'uuid' },
        fallback: { const: true },
        stale: { const: true },
      },
    },
    outputs: {
      type: 'array',
      items: {
        ...tensorKind,
        properties: {
          ...tensorKind.properties,
          shape,
          data: { type: 'array' },
          parameters: { type: 'object' },
        },
      },
    },
  },
}

export const serverSchema = {
  type: 'object',
  required: ['name', 'version', 'extensions'],
  properties: { name: names, version: names, extensions: { type: 'array', items: names } },
}

export const modelSchema = {
  type: 'object',
  required: ['name', 'versions', 'platform', 'inputs', 'outputs'],
  properties: {
    name: names,
    versions: { type: 'array', items: names },
    platform: names,
    inputs: { type: 'array', items: tensorKind },
    outputs: { type: 'array', items: tensorKind },
    parameters: { type: 'object' },
  },
}
