/** Defines and compiles the triggers of a model file: new data for a retraining or a batch, and requests. */
import { sourceNamePattern } from '../../../domain/canary/external/external-policy.ts'
import type { Features } from '../../../domain/model/features.ts'
import type { TriggerDefinition } from '../../../domain/triggers/trigger.ts'
import { isRemoteFile, issueOfSourceFile } from '../../../domain/addresses/source-address.ts'
import { checkFeatures } from '../data/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface TriggerOptions {
  /** The name of the trigger in lists and commands. Default: its kind (`file`, `watermark`, `workflow`, `webhook`). Two of a kind need names. */
  name?: string
}

export interface SensorOptions extends TriggerOptions {
  /** The polling interval, at least 1 s. Default: 30 s. */
  every?: Duration
}

export interface WatermarkOptions extends SensorOptions {
  /** The table: `orders` or `sales.orders`, as written in the database. */
  table: string
  /** A column that only increases, such as the time of a change or a serial number. */
  column: string
  /** The name of a metric source of the kind `sql` with the table. Default: Tenure's own database. */
  source?: string
}

export interface WorkflowOptions extends SensorOptions {
  /** The type of the upstream workflow. Set the type or the id. */
  type?: string
  /** The id of the upstream workflow. */
  id?: string
  /** The namespace of the upstream workflow on the same server. Default: Tenure's namespace. */
  namespace?: string
}

export interface WebhookOptions extends TriggerOptions {
  /**
   * The parameters that each request must send: names with `number(…)` and `category(…)`. A parameter with the name of a hyperparameter
   * replaces it.
   */
  parameters?: Features
}

export type TriggerSpec =
  | ({ kind: 'file'; glob: string } & SensorOptions)
  | ({ kind: 'watermark' } & WatermarkOptions)
  | ({ kind: 'workflow' } & WorkflowOptions)
  | ({ kind: 'webhook' } & WebhookOptions)

/** Fires when a matching file of the project is new or has changed: `whenFile('data/ready/*.done')`. */
export const whenFile = (glob: string, options: SensorOptions = {}): TriggerSpec => ({
  ...options,
  kind: 'file',
  glob,
})

/** Fires when the maximum of a column has increased: `whenWatermark({ table: 'orders', column: 'changed_at' })`. */
export const whenWatermark = (options: WatermarkOptions): TriggerSpec => ({ ...options, kind: 'watermark' })

/** Fires when a run of another Temporal workflow has completed: `afterWorkflow({ type: 'loadOrders' })`. */
export const afterWorkflow = (options: WorkflowOptions): TriggerSpec => ({ ...options, kind: 'workflow' })

/**
 * Fires on `POST /v1/models/:name/triggers/webhook` with an operator's key: `onWebhook({ parameters: { region: category(['eu', 'us']) }
 * })`.
 */
export const onWebhook = (options: WebhookOptions = {}): TriggerSpec => ({ ...options, kind: 'webhook' })

const sensorFields = { kind: 0, name: 0, every: 0 } as const
const fieldsOf = {
  file: fieldNames<SensorOptions & { kind: 0; glob: 0 }>({ ...sensorFields, glob: 0 }),
  watermark: fieldNames<WatermarkOptions & { kind: 0 }>({ ...sensorFields, table: 0, column: 0, source: 0 }),
  workflow: fieldNames<WorkflowOptions & { kind: 0 }>({ ...sensorFields, type: 0, id: 0, namespace: 0 }),
  webhook: fieldNames<WebhookOptions & { kind: 0 }>({ kind: 0, name: 0, parameters: 0 }),
}

const minLookMs = 1_000
const maxParameters = 20
const tableName = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$/
const columnName = /^[A-Za-z_]\w*$/
/** Safe between quotes in a Temporal query. */
const workflowName = /^[^"'`\\\p{Cc}]{1,200}$/u

export function compileTrigger(report: IssueCollector, part: string, spec: TriggerSpec): TriggerDefinition {
  const name = spec.name ?? spec.kind
  const place = `${part}.${name}`
  if (!(spec.kind in fieldsOf))
    throw new Error(
      `cron(…), whenFile(…), whenWatermark(…), afterWorkflow(…) or onWebhook(…) is required, not ${JSON.stringify(spec)}`,
    )
  reportUnknown(report, place, spec, fieldsOf[spec.kind])
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
    report(`${part}.name`, 'up to 63 lower-case letters, digits and hyphens, beginning with a letter')
  const need = (holds: boolean, field: string, message: string) => {
    if (!holds) report(`${place}.${field}`, message)
  }
  if (spec.kind === 'webhook') {
    const { parameters = {} } = spec
    const { length } = Object.keys(parameters)
    need(length <= maxParameters, 'parameters', `at most ${maxParameters} are allowed, not ${length}`)
    // Others have no values that a batch could put into its query.
    for (const [each, feature] of Object.entries(parameters))
      if (feature.kind === 'text' || feature.kind === 'vector' || feature.kind === 'image')
        report(`${place}.parameters.${each}`, 'made with number(…) or category(…)')
    if (length > 0)
      checkFeatures(
        (field, message) => report(field.replace('features', `${place}.parameters`), message),
        parameters,
      )
    return { name, kind: 'webhook', parameters }
  }
  const everyMs = durationAt(report, `${place}.every`, spec.every ?? '30 s')
  need(everyMs >= minLookMs, 'every', `at least one second is required, not ${JSON.stringify(spec.every)}`)
  switch (spec.kind) {
    case 'file': {
      const { glob } = spec
      const isInside = issueOfSourceFile(glob) === undefined && !isRemoteFile(glob)
      need(isInside, 'glob', `a pattern inside the project is required, not ${JSON.stringify(glob)}`)
      return { name, kind: 'file', everyMs, glob }
    }
    case 'watermark': {
      const { table, column, source } = spec
      need(
        tableName.test(table),
        'table',
        `a table or schema.table is required, not ${JSON.stringify(table)}`,
      )
      need(
        columnName.test(column),
        'column',
        `the name of a column is required, not ${JSON.stringify(column)}`,
      )
      if (source !== undefined)
        need(sourceNamePattern.test(source), 'source', `names a metric source, not ${JSON.stringify(source)}`)
      return { name, kind: 'watermark', everyMs, table, column, source }
    }
    case 'workflow': {
      const { type, id, namespace } = spec
      const given = [type, id].filter((each) => each !== undefined)
      need(given.length === 1, 'type', 'either the type or the id of a workflow is required')
      for (const each of [...given, ...(namespace === undefined ? [] : [namespace])])
        need(
          workflowName.test(each),
          'type',
          `a name without quotes is required, not ${JSON.stringify(each)}`,
        )
      return { name, kind: 'workflow', everyMs, type, id, namespace }
    }
  }
}
