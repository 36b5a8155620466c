/**
 * Checks at the start of a process that it can read the payloads that Temporal stores. With a missing or different key, the process would
 * fail open workflows and write payloads that other processes cannot read.
 */
import type proto from '@temporalio/proto'
import { DomainError } from '../../domain/errors.ts'
import { createPayloadCodec, keyIdOf } from './payload-codec.ts'
import type { PayloadKey } from './settings.ts'

type Service = Pick<
  proto.temporal.api.workflowservice.v1.WorkflowService,
  'listWorkflowExecutions' | 'getWorkflowExecutionHistory'
>

/** The number of newest workflows to read per task queue. */
const maxRead = 5

export interface PayloadCheck {
  service: Service
  namespace: string
  /** Workflows of other queues may belong to other systems. */
  taskQueues: readonly string[]
  keys: readonly PayloadKey[] | undefined
}

/** Throws `configuration_invalid` if the input of an open workflow cannot be decrypted. Returns the number of inputs read. */
export async function requireReadablePayloads(check: PayloadCheck): Promise<number> {
  const { service, namespace, taskQueues, keys = [] } = check
  const codec = createPayloadCodec(keys)
  const open = []
  // Sequential: a connection cannot be closed cleanly during a second call.
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
