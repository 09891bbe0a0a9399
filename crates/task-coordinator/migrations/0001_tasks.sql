-- Durable tasks. The events of a task are the truth; its row in `tasks` is what they fold to, kept for queries.

-- Brought by workers, the same for every tenant.
create table task_types (
    name               text        primary key,
    effect_mode        text        not null check (effect_mode in ('idempotent', 'at_most_once')),
    max_attempts       integer     not null check (max_attempts between 1 and 20),
    attempt_timeout_ms bigint      not null check (attempt_timeout_ms > 0),
    updated_at         timestamptz not null default now()
);

-- What workers could begin now. Below zero for a moment when a claim overtakes the result that made room for it.
create table credits (
    task_type   text        not null references task_types (name) on delete cascade,
    worker      text        not null,
    free_slots  integer     not null,
    reported_at timestamptz not null default now(),
    primary key (task_type, worker)
);

create table tasks (
    -- UUID version 7.
    id                 uuid        primary key,
    tenant_id          text        not null,
    subject            text        not null,
    roles              text[]      not null,
    scopes             text[]      not null,
    -- W3C trace headers of the request that submitted it.
    trace              jsonb       not null,
    type               text        not null,
    priority           smallint    not null check (priority between 0 and 9),
    max_attempts       integer     not null check (max_attempts between 1 and 20),
    effect_mode        text        not null,
    attempt_timeout_ms bigint      not null,
    expires_at         timestamptz,
    state              text        not null check (state in
        ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted', 'expired')),
    -- Attempts begun so far; the newest one is also the fencing epoch.
    attempt            integer     not null check (attempt between 0 and max_attempts),
    -- A broker has taken the present release over.
    released           boolean     not null,
    cancel_requested   boolean     not null,
    worker             text        check ((worker is not null) = (state = 'running')),
    error_reason       text,
    error_message      text,
    error_code         text,
    not_before         timestamptz,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    finished_at        timestamptz check ((finished_at is not null) = (state not in ('queued', 'running'))),
    -- Sequence of the newest event.
    sequence           bigint      not null
);

-- Lists walk one of these per state, newest first.
create index tasks_by_state on tasks (tenant_id, state, created_at desc, id desc);
create index tasks_by_type on tasks (tenant_id, type, state, created_at desc, id desc);
create index tasks_to_expire on tasks (expires_at)
    where expires_at is not null and state in ('queued', 'running');
create index tasks_finished on tasks (finished_at) where finished_at is not null;

create table task_events (
    task_id      uuid        not null references tasks (id) on delete cascade,
    -- Contiguous from 1 for each task.
    sequence     bigint      not null check (sequence > 0),
    tenant_id    text        not null,
    kind         text        not null,
    at           timestamptz not null,
    -- Attempt that the event belongs to; 0 before the first.
    attempt      integer     not null,
    -- State after the event.
    state        text        not null,
    data         jsonb,
    -- Input of `created`, result of `succeeded`: stored here only.
    payload      bytea,
    content_type text,
    primary key (task_id, sequence)
);

-- Whatever the code does, a task ends once.
create unique index task_events_end_once on task_events (task_id)
    where state not in ('queued', 'running');

-- One row for each running attempt.
create table leases (
    task_id    uuid        primary key references tasks (id) on delete cascade,
    tenant_id  text        not null,
    attempt    integer     not null,
    worker     text        not null,
    expires_at timestamptz not null,
    -- Longest time the attempt may run; no renewal goes beyond it.
    deadline   timestamptz not null
);

create index leases_by_expiry on leases (expires_at);

-- One row for each queued task.
create table outbox (
    task_id    uuid        primary key references tasks (id) on delete cascade,
    tenant_id  text        not null,
    type       text        not null,
    priority   smallint    not null,
    -- ready: to be released as credit allows. waiting: not before `due_at`.
    -- released: with the broker or on the way there; to be released again at `due_at`.
    phase      text        not null check (phase in ('ready', 'waiting', 'released')),
    due_at     timestamptz not null,
    -- Message of the newest release.
    message_id uuid        check ((message_id is not null) = (phase = 'released'))
);

create index outbox_ready on outbox (type, priority desc, task_id) where phase = 'ready';
create index outbox_due on outbox (due_at) where phase <> 'ready';
create index outbox_released on outbox (type) where phase = 'released';

create table idempotency_keys (
    tenant_id   text        not null,
    subject     text        not null,
    operation   text        not null,
    key         text        not null,
    -- SHA-256 of the request without its key.
    fingerprint bytea       not null,
    -- Written before its task, in one transaction.
    task_id     uuid        not null references tasks (id) on delete cascade deferrable initially deferred,
    created_at  timestamptz not null default now(),
    primary key (tenant_id, subject, operation, key)
);

create index idempotency_keys_by_task on idempotency_keys (task_id);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- Messages whose effect is stored; their ids are unique over all tenants.
create table inbox (
    consumer    text        not null,
    message_id  text        not null,
    received_at timestamptz not null default now(),
    primary key (consumer, message_id)
);

create index inbox_by_age on inbox (received_at);

-- Tasks that used up their attempts.
create table dead_letters (
    task_id   uuid        primary key references tasks (id) on delete cascade,
    tenant_id text        not null,
    type      text        not null,
    attempts  integer     not null,
    reason    text        not null,
    message   text        not null,
    parked_at timestamptz not null
);

create index dead_letters_by_tenant on dead_letters (tenant_id, parked_at desc);

-- Dead letters that are no task: messages that nobody could read. They name no tenant.
create table stray_messages (
    message_id  text        primary key,
    queue       text        not null,
    reason      text        not null,
    headers     jsonb       not null,
    body        bytea       not null,
    received_at timestamptz not null default now()
);

create index stray_messages_by_age on stray_messages (received_at);

-- The service's login may use the tables and nothing else; development databases may lack the role.
do $$
begin
    if exists (select from pg_roles where rolname = 'task_coordinator') then
        grant usage on schema tasks to task_coordinator;
        grant select, insert, update, delete on all tables in schema tasks to task_coordinator;
    end if;
end
$$;
