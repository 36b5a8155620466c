/**
 * Checks at the start of a process that it can read what Temporal stores: with a missing or another key it would fail the workflows of others, and write
 * what they cannot read.
 */
import type proto from '@temporalio/proto'
import { DomainError } from '../domain/errors.ts'
import { createPayloadCodec, keyIdOf } from './payload-codec.ts'
import type { PayloadKey } from './settings.ts'

type Service = Pick<
  proto.temporal.api.workflowservice.v1.WorkflowService,
  'listWorkflowExecutions' | 'getWorkflowExecutionHistory'
>

/** Of each task queue, the newest. */
const maxRead = 5

export interface PayloadCheck {
  service: Service
  namespace: string
  /** Workflows of other queues may belong to other systems. */
  taskQueues: readonly string[]
  keys: readonly PayloadKey[] | undefined
}

/** Throws `configuration_invalid` when the input of an open workflow cannot be decrypted. Returns how many were read. */
export async function requireReadablePayloads(check: PayloadCheck): Promise<number> {
  const { service, namespace, taskQueues, keys = [] } = check
  const codec = createPayloadCodec(keys)
  const open = []
  // One call after the other: a connection that is closed beside a second call cannot be closed cleanly.
  for (const queue of taskQueues) {
    const query = `ExecutionStatus = "Running" and TaskQueue = "${queue}"`
    const { executions } = await service.listWorkflowExecutions({ namespace, query, pageSize: maxRead })
    open.push(...(executions ?? []).map(({ execution }) => execution))
  }
  for (const execution of open) {
    const { history } = await service
      .getWorkflowExecutionHistory({ namespace, execution, maximumPageSize: 1 })
      .catch((error: { code?: unknown }) => {
        if (error.code === notFound) return { history: undefined }
        throw error
      })
    const { input } = history?.events?.[0]?.workflowExecutionStartedEventAttributes ?? {}
    for (const payload of input?.payloads ?? []) {
      const id = keyIdOf(payload)
      const [read] = await codec.decode([payload])
      if (id === undefined || read !== payload) continue
      const how = keys.some((key) => key.id === id)
        ? 'the key of that id in TENURE_PAYLOAD_KEYS is another one'
        : 'TENURE_PAYLOAD_KEYS does not hold it'
      throw new DomainError(
        'configuration_invalid',
        `the workflow ${execution?.workflowId} is encrypted with the key "${id}", and ${how}`,
        { key: id },
      )
    }
  }
  return open.length
}

/** Of gRPC: the workflow has ended meanwhile, and its history is deleted. */
const notFound = 5
