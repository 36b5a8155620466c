/**
 * Builds OpenLineage events (spec 2-0-2): the inputs and outputs of a run. A dataset has the same identity in every event, so that
 * consumers can join them.
 */
export const lineageTypes = ['START', 'COMPLETE', 'FAIL', 'ABORT'] as const
export type LineageType = (typeof lineageTypes)[number]
export const lineageJobs = ['snapshot', 'training', 'evaluation', 'release'] as const
export type LineageJob = (typeof lineageJobs)[number]

export interface LineageFacts {
  type: LineageType
  /** ISO 8601. */
  at: string
  job: LineageJob
  model: string
  /** A UUID, the same in all events of a run. */
  runId: string
  /** The revision of Tenure. */
  build: string
  /** The query of the model's rows; absent for files. */
  query?: string
  /** Why the run failed. */
  problem?: string
  inputs: readonly LineageDataset[]
  outputs: readonly LineageDataset[]
}

export type LineageDataset =
  | { kind: 'source'; namespace: string; name: string }
  | {
      kind: 'snapshot'
      digest: string
      asOf?: string
      columns?: Record<string, string>
      rows?: number
      bytes?: number
    }
  | { kind: 'artifact'; digest: string; version?: string }
  | { kind: 'evaluation'; id: string; digest?: string; verdict?: string; metrics?: Record<string, number> }
  | { kind: 'champion'; version: string }

const spec = 'https://openlineage.io/spec'
const facetSchemas = {
  version: `${spec}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet`,
  schema: `${spec}/facets/1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet`,
  outputStatistics: `${spec}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet`,
  sql: `${spec}/facets/1-0-1/SQLJobFacet.json#/$defs/SQLJobFacet`,
  jobType: `${spec}/facets/2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet`,
  errorMessage: `${spec}/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet`,
  processing_engine: `${spec}/facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet`,
  // Tenure's own facet: the verdict of the gate.
  tenure_evaluation: 'urn:tenure:facet:evaluation:1',
} as const

const producer = 'urn:tenure'

const facet = <T extends object>(name: keyof typeof facetSchemas, fields: T) => ({
  _producer: producer,
  _schemaURL: facetSchemas[name],
  ...fields,
})

/** The event as sent. */
export function lineageEvent(facts: LineageFacts) {
  const { type, at, job, model, runId, build, query, problem, inputs, outputs } = facts
  const kind = { processingType: 'BATCH', integration: 'TENURE', jobType: job.toUpperCase() }
  return {
    eventType: type,
    eventTime: at,
    producer,
    schemaURL: `${spec}/2-0-2/OpenLineage.json#/$defs/RunEvent`,
    run: {
      runId,
      facets: {
        processing_engine: facet('processing_engine', { name: 'tenure', version: build }),
        errorMessage:
          problem === undefined
            ? undefined
            : facet('errorMessage', { message: problem, programmingLanguage: 'TypeScript' }),
      },
    },
    job: {
      namespace: 'tenure',
      name: `${model}.${job}`,
      facets: {
        jobType: facet('jobType', kind),
        sql: query === undefined ? undefined : facet('sql', { query }),
      },
    },
    inputs: inputs.map((each) => datasetOf(model, each)),
    // Only the writer of a dataset knows its statistics.
    outputs: outputs.map((each) => ({ ...datasetOf(model, each), outputFacets: statisticsOf(each) })),
  }
}

function datasetOf(model: string, dataset: LineageDataset) {
  const own = (name: string, version: string, facets: Record<string, object> = {}) => ({
    namespace: 'tenure',
    name: `${model}/${name}`,
    facets: { version: facet('version', { datasetVersion: version }), ...facets },
  })
  switch (dataset.kind) {
    case 'source':
      return { namespace: dataset.namespace, name: dataset.name, facets: {} }
    case 'snapshot': {
      const { digest, columns } = dataset
      const fields = Object.entries(columns ?? {}).map(([name, type]) => ({ name, type }))
      return own('snapshot', digest, fields.length === 0 ? {} : { schema: facet('schema', { fields }) })
    }
    case 'artifact':
      return own('artifact', dataset.digest)
    case 'evaluation': {
      const { id, digest, verdict, metrics } = dataset
      const results = verdict === undefined ? {} : { verdict, metrics: metrics ?? {} }
      return own('evaluation', digest ?? id, {
        tenure_evaluation: facet('tenure_evaluation', { id, ...results }),
      })
    }
    case 'champion':
      return own('champion', dataset.version)
    default:
      return dataset satisfies never
  }
}

function statisticsOf(dataset: LineageDataset): Record<string, object> {
  if (dataset.kind !== 'snapshot' || dataset.rows === undefined) return {}
  const { rows: rowCount, bytes: size } = dataset
  return { outputStatistics: facet('outputStatistics', { rowCount, size }) }
}
