-- Producers on the broker are told the end of their tasks; dead letters can be looked at and sent again.

-- One row for each task whose end is still to be told.
create table answers (
    task_id        uuid        primary key references tasks (id) on delete cascade,
    tenant_id      text        not null,
    -- Queue, by way of the default exchange.
    reply_to       text        not null,
    correlation_id text        not null,
    -- The submission: CloudEvents source and id.
    source         text        not null,
    event_id       text        not null,
    -- When to tell it (again); null until the task has ended.
    due_at         timestamptz,
    tries          integer     not null default 0,
    -- Another one whenever the submission comes again: what was under way is not the last word then.
    ticket         uuid        not null
);

create index answers_due on answers (due_at) where due_at is not null;

-- Dead letters that are no task. The id of a message is its sender's and may be anybody's.
alter table stray_messages
    drop constraint stray_messages_pkey,
    add column id                 uuid    not null default gen_random_uuid() primary key,
    -- SHA-256 of message id, queue and body: the same death has one row.
    add column fingerprint        bytea   unique,
    add column content_type       text    not null default '',
    add column routing_key        text    not null default '',
    add column reply_to           text,
    add column correlation_id     text,
    -- Login name that the broker validated.
    add column user_id            text,
    -- Named by the message; there may be no such task.
    add column task_id            uuid,
    -- Bytes of the whole body; more than `body` has when it was cut.
    add column size               bigint  not null default 0,
    -- How often it was sent again before it died.
    add column redrives           integer not null default 0,
    -- Being sent again since then.
    add column redrive_started_at timestamptz,
    -- Sent again since it died.
    add column redriven_at        timestamptz;

update stray_messages set size = length(body);

create index stray_messages_newest on stray_messages (received_at desc, id desc);

do $$
begin
    if exists (select from pg_roles where rolname = 'task_coordinator') then
        grant select, insert, update, delete on answers to task_coordinator;
    end if;
end
$$;
