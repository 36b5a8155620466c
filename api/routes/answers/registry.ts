/** Describes the responses of models, versions, features and the records about them. */
import { foundKinds } from '../../../store/dashboard/lists.ts'
import { retrainingStartedAnswer } from './lifecycle.ts'
import {
  countField,
  dataField,
  schemaOfFields,
  flagField,
  arrayOf,
  mapOf,
  nullable,
  numberField,
  oneOfTexts,
  pagedListOf,
  textField,
  timeField,
} from './fields.ts'

const model = { name: textField, synced_at: timeField }
const minuteOfModel = schemaOfFields({ requests: countField, failed: countField, is_failing: flagField })
const championOfModel = {
  about: textField,
  champion: schemaOfFields({ version: textField, since: timeField }, { release_id: textField }),
  open_release: textField,
  last_minute: minuteOfModel,
  quality_unmeasured: textField,
  parts_unmeasured: arrayOf(textField),
}
export const modelsAnswer = schemaOfFields({ models: arrayOf(schemaOfFields(model, championOfModel)) })
const feature = schemaOfFields(
  { kind: textField },
  {
    unit: textField,
    min: numberField,
    max: numberField,
    values: arrayOf(textField),
    missing: textField,
    about: textField,
    from: dataField,
  },
)
export const modelAnswer = schemaOfFields(
  {
    ...model,
    features: mapOf(feature),
    output: dataField,
    release_policy: dataField,
    code_digest: textField,
    definition_digest: textField,
    ready: flagField,
  },
  { ...championOfModel, rolls_back: textField, route: dataField },
)
export const searchAnswer = schemaOfFields({
  results: arrayOf(
    schemaOfFields(
      { kind: oneOfTexts(...foundKinds), id: textField, name: textField, path: textField },
      { model: textField, detail: textField, at: timeField },
    ),
  ),
})
const answerFields = [
  { names: arrayOf(textField), counts: arrayOf(countField) },
  { scores: arrayOf(numberField), edges: arrayOf(numberField) },
] as const
export const trafficAnswer = schemaOfFields(
  {
    model: textField,
    tick_ms: numberField,
    ticks: arrayOf(schemaOfFields({ requests: countField, errors: countField, invalid: countField })),
  },
  {
    answers: schemaOfFields(answerFields[0], {
      ...answerFields[1],
      others: arrayOf(schemaOfFields(...answerFields)),
    }),
    labels: schemaOfFields(
      { delay_ms: numberField, window_ms: numberField, predictions: countField, known: countField },
      { right: countField },
    ),
  },
)
const countedHours = arrayOf(
  schemaOfFields(
    { at: timeField, features: mapOf(arrayOf(countField)) },
    { score: arrayOf(countField), scores: mapOf(arrayOf(countField)) },
  ),
)
export const featureCountsAnswer = schemaOfFields(
  {
    model: textField,
    version: textField,
    profile: dataField,
    count_ms: numberField,
    span_ms: numberField,
    counts: countedHours,
  },
  { earlier: countedHours },
)
export const championAnswer = schemaOfFields(
  {
    model: textField,
    version: textField,
    cause: textField,
    actor: textField,
    since: timeField,
    at: timeField,
  },
  {
    reason: textField,
    artifact_digest: textField,
    release: dataField,
    evaluation: dataField,
    decisions: arrayOf(dataField),
    audit: dataField,
  },
)

const version = {
  version: textField,
  model: textField,
  status: textField,
  major: countField,
  minor: countField,
  patch: countField,
  artifact_digest: textField,
  evaluation_id: textField,
  training_id: textField,
  lineage: dataField,
  created_by: textField,
  created_at: timeField,
}
const endOfVersion = { known_good_at: timeField, rolled_back_at: timeField, not_released: textField }
export const versionsAnswer = pagedListOf(
  'versions',
  schemaOfFields({ ...version, metrics: mapOf(nullable(numberField)) }, endOfVersion),
)
export const versionAnswer = schemaOfFields(
  { ...version, manifest: dataField },
  {
    ...endOfVersion,
    signature: textField,
  },
)
export const failuresAnswer = schemaOfFields({
  failures: arrayOf(
    schemaOfFields(
      {
        id: textField,
        at: timeField,
        version: textField,
        arm: textField,
        replica: textField,
        code: textField,
        message: textField,
        instances: countField,
        latency_us: countField,
        inputs: arrayOf(dataField),
      },
      { release_id: textField, routing_key: textField },
    ),
  ),
})
export const comparisonAnswer = dataField
export const cardAnswer = schemaOfFields({ format: textField, version: textField, model: textField })
export const importedAnswer = { allOf: [retrainingStartedAnswer, schemaOfFields({ bundle: dataField })] }
export const uploadedAnswer = { allOf: [retrainingStartedAnswer, schemaOfFields({ artifact: dataField })] }

const view = {
  name: textField,
  digest: textField,
  late_rows: countField,
  synced_at: timeField,
  models: arrayOf(textField),
  versions: arrayOf(textField),
  entity: arrayOf(textField),
  values: mapOf(textField),
  source: dataField,
}
const progressOfView = {
  about: textField,
  watermark: timeField,
  ran_at: timeField,
  problem: textField,
  every_ms: numberField,
  late_ms: numberField,
  keep_ms: numberField,
}
export const viewsAnswer = schemaOfFields({ features: arrayOf(schemaOfFields(view, progressOfView)) })
export const viewAnswer = schemaOfFields({
  name: textField,
  definitions: arrayOf(
    schemaOfFields({ ...view, entities: countField }, { ...progressOfView, newest: timeField }),
  ),
})
export const valuesAnswer = schemaOfFields({
  view: textField,
  entity: textField,
  at: timeField,
  values: arrayOf(dataField),
})
export const ingestionAnswer = schemaOfFields({ view: textField, workflow_id: textField, begun: flagField })
