/** Declares the messages of the triggers of a model. */

/** One id per model. */
export const triggersWorkflowId = (model: string): string => `trigger/${model}`

/** One id per scheduled batch. */
export const batchScheduleWorkflowId = (model: string, batch: string): string => `score/${model}/${batch}`

export interface FireTriggersRequest {
  model: string
  /** The batch whose schedule is due. Absent: check the triggers of the model. */
  batch?: string
}

export interface FireTriggersOutcome {
  model: string
  message: string
  /** The id of the firing whose retraining has started. */
  started?: string
}
