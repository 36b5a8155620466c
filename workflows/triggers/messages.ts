/** Declares the messages of the triggers of a model. */

/** One id per model. */
export const triggersWorkflowId = (model: string): string => `trigger/${model}`

export interface FireTriggersRequest {
  model: string
}

export interface FireTriggersOutcome {
  model: string
  message: string
  /** The id of the firing whose retraining has started. */
  started?: string
}
